"""Recently viewed: the items that the user looked at, newest first. No model, nothing to train."""

from collections.abc import Sequence

import numpy as np

from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Task,
    hookimpl,
)
from endcap.sdk.features import last_occurrences


class RecentlyViewed:
    """Recommends the items that the user viewed, newest first, each once."""

    tasks = frozenset({Task.RECENTLY_VIEWED})

    def __init__(self, _resources: Resources, _parameters: NoParameters) -> None:
        """Need nothing."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:  # noqa: ARG002
        """Answer each query with the viewed items that may still be shown."""
        return [_rank(query) for query in queries]


def _rank(query: Query) -> Ranking:
    viewed = last_occurrences(query.history.of_type("view"))[::-1]
    if query.candidates is not None:
        viewed = viewed[np.isin(viewed, query.candidates)]
    rows = viewed[query.eligible.allows(viewed)][: query.limit]
    # Only the order means anything: 1, 1/2, 1/3, …
    scores = np.float32(1) / np.arange(1, len(rows) + 1, dtype=np.float32)
    reasons = ((Reason("viewed"),),) * len(rows) if query.explain else ()
    return Ranking(rows, scores, reasons)


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``recently_viewed``."""
    register("recently_viewed", RecentlyViewed)

"""An Endcap strategy that shows the newest items first."""

from collections.abc import Sequence

import numpy as np
from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    Task,
    hookimpl,
    recommend_by_score,
)


class Newest:
    """Ranks items by the time they came into the catalog."""

    tasks = frozenset({Task.FOR_YOU, Task.TRENDING, Task.RANK})

    def __init__(self, resources: Resources, parameters: NoParameters) -> None:
        """It needs neither a model nor parameters."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        """Return the newest items."""
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score each item by its creation time, in days."""
        days = (catalog.created / 86_400_000).astype(np.float32)
        chosen = days if rows is None else days[rows]
        return np.tile(chosen, (len(queries), 1))


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer the strategy."""
    register("newest", Newest)

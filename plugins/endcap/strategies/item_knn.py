"""Item-kNN: items that users chose together.

The trainer of the same name counts how often two items occur together and divides by how popular
either is; Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001), is
where this family comes from. It comes in two modes: ``sequence`` counts what was chosen shortly
before or after, ``basket`` counts customers who bought both.

===========  ==========================================  ==========================================
task         profile                                     similarity
===========  ==========================================  ==========================================
for-you,     sequence: the last 20 events, ``.6 ** age``  either direction
rank         basket: every product once
similar      the item of the page                        either direction
related      the items of the page or the cart           directional: what came after (sequence),
                                                         the share of baskets with it (basket)
===========  ==========================================  ==========================================
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

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
from endcap.sdk.features import last_occurrences, recency_weights
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import (
    Profile,
    counted_events,
    distinct_history,
    explain_profiles,
    score_profiles,
)


RECENT_EVENTS = 20
"""Number of last events of a sequence that count."""

DECAY = 0.6
"""Decay of an event's weight, relative to the event after it."""


class ItemKnn:
    """Recommends the neighbors of the user's items, or of the items of the page or the cart."""

    tasks = frozenset({Task.FOR_YOU, Task.SIMILAR, Task.RELATED, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model = resources.model("item_knn")
        self._sequential = self._model.state["mode"] == "sequence"

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the nearest items; items without similarity to it are left out."""
        rankings = recommend_by_score(self, queries, catalog)
        profiles = [self._profile(query, catalog) for query in queries]
        return explain_profiles(
            self._model, profiles, rankings, queries, catalog, options=_direction(queries)
        )

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by their similarity to the query's items.

        Items without any similarity have no score, nor have the items of the page or the cart.
        """
        profiles = [self._profile(query, catalog) for query in queries]
        scores = score_profiles(self._model, profiles, None, catalog, _direction(queries))
        linked: Scores = np.where(scores > 0, scores, np.float32(np.nan))
        for own, query in zip(linked, queries, strict=True):
            if query.task in {Task.SIMILAR, Task.RELATED}:
                own[query.items] = np.nan
        return linked if rows is None else linked[:, rows]

    def _profile(self, query: Query, catalog: CatalogView) -> Profile:
        if query.task in {Task.SIMILAR, Task.RELATED}:
            rows = last_occurrences(query.items)
            return Profile(rows, np.ones(len(rows), np.float32))
        positives = Positives.of_state(self._model.state, catalog.event_weights)
        if not self._sequential:
            return distinct_history(query, positives)
        events, weights = counted_events(query, positives)
        rows = events.rows[-RECENT_EVENTS:]
        return Profile(rows, weights[-RECENT_EVENTS:] * recency_weights(len(rows), DECAY))


def _direction(queries: Sequence[Query]) -> Mapping[str, NDArray[np.bool_]]:
    """Return for each query whether it is scored by the directional similarities."""
    return {"directional": np.array([query.task is Task.RELATED for query in queries])}


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``item_knn``."""
    register("item_knn", ItemKnn)

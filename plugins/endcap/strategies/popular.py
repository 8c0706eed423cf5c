"""Popular: what many users chose lately. It answers every task and is the floor of every ladder.

The score of an item is a weighted sum of its users by age: ``Σ w[b] · users[b]``, where ``users[b]`` counts
those who last chose it in age bucket ``b``. The trainer of the same name puts the weights into a bundle;
without a bundle it serves with ``DEFAULT_WEIGHTS``, from memory, and cannot fail. The parameter
``window_days`` overrides both: the best sellers of the week are those of a window of 7 days.

For ``trending`` it compares an item's users now with its own past. With ``n`` users in the last week and
``p`` in the eleven weeks before, the item is expected to have ``e = p · Σn / Σp`` users now, which takes out
what the whole shop gained or lost. The score is by how many standard deviations ``n`` exceeds that, taking
``n`` for Poisson distributed: ``(n − e) / √(e + 1)``. Items that do not exceed it are not trending.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    Model,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    Task,
    hookimpl,
    parameter,
    top,
)
from endcap.sdk.errors import ModelMissing
from endcap.sdk.features import AGE_EDGES, AGE_MIDPOINTS


OLD = 1e-4
"""The weight of a user from before the window: it orders items that nobody chose lately."""


def window_weights(days: float) -> NDArray[np.float32]:
    """Return the weights that let everybody of the last days count alike; ``(age buckets,)``."""
    return np.array([1.0 if age <= days else OLD for age in AGE_MIDPOINTS], np.float32)


DEFAULT_WEIGHTS = window_weights(30)
"""The weights without a bundle."""

NOW = slice(0, AGE_EDGES.index(7) + 1)
"""The age buckets of the last week."""

PAST = slice(NOW.stop, AGE_EDGES.index(90) + 1)
"""The age buckets of the eleven weeks and more before it, up to 90 days."""


@dataclass(frozen=True)
class PopularParameters:
    """The parameters of ``popular``."""

    window_days: float = parameter(
        0.0,
        "Window in days; higher counts older users, 0 takes the model's weights.",
        minimum=0,
    )


class Popular:
    """Recommends the items of most users lately; for trending, of more users now than before."""

    tasks = frozenset(Task)

    def __init__(self, resources: Resources, parameters: PopularParameters) -> None:
        self._weights = DEFAULT_WEIGHTS
        self._model: Model | None = None
        if parameters.window_days:
            self._weights = window_weights(parameters.window_days)
        else:
            with suppress(ModelMissing):
                self._model = resources.model("popular")
        # Shared by all queries of a view: the popularity of every item, and its trend.
        self._common: WeakKeyDictionary[CatalogView, tuple[Scores, Scores]] = WeakKeyDictionary()

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the best items; every item that has a score may be one of them."""
        scores = self.score(queries, None, catalog)
        return [_explain(top(row, query), query, catalog) for row, query in zip(scores, queries, strict=True)]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by their users; items that are not trending have no score for that task."""
        if catalog not in self._common:
            users = catalog.weighted_users_by_age()
            self._common[catalog] = (self._popularity(users), _trend(users))
        popularity, trend = self._common[catalog]
        scores = np.empty((len(queries), len(catalog)), np.float32)
        for row, query in zip(scores, queries, strict=True):
            trending = query.task is Task.TRENDING
            row[:] = trend if trending else _same_categories_first(popularity, query, catalog)
        return scores if rows is None else scores[:, rows]

    def _popularity(self, users: NDArray[np.float32]) -> Scores:
        if self._model is None:
            scores: Scores = self._weights @ users
        else:
            scores = self._model.run({"users_by_age": users})["scores"]
        return scores


def _trend(users: NDArray[np.float32]) -> Scores:
    # Weights may be below 0; an item that more speaks against than for has no trend.
    now, past = (np.maximum(users[period].sum(axis=0), 0) for period in (NOW, PAST))
    expected = past * (now.sum() / max(past.sum(), np.float32(1)))
    excess = (now - expected) / np.sqrt(expected + 1)
    trend: Scores = np.where(excess > 0, excess, np.float32(np.nan))
    return trend


def _same_categories_first(popularity: Scores, query: Query, catalog: CatalogView) -> Scores:
    """Lift items that share a category with the page's items above all others."""
    if query.task not in {Task.SIMILAR, Task.RELATED}:
        return popularity
    page_categories = {name for row in query.items for name in catalog.categories.of_row(row)}
    lift = popularity.max(initial=0) - popularity.min(initial=0) + 1
    scores: Scores = popularity + lift * catalog.categories.sharing(page_categories)
    scores[query.items] = np.nan
    return scores


def _explain(ranking: Ranking, query: Query, catalog: CatalogView) -> Ranking:
    """Add the reason to items that somebody chose; the others fill the list, and are popular with nobody."""
    if not query.explain:
        return ranking
    reasons = (Reason("trending" if query.task is Task.TRENDING else "popular"),)
    chosen = catalog.weighted_users_by_age()[:, ranking.rows].sum(axis=0) > 0
    return Ranking(ranking.rows, ranking.scores, tuple(reasons if each else () for each in chosen.tolist()))


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``popular``."""
    register("popular", Popular, PopularParameters)

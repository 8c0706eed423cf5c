"""Popular: what many users chose lately. It answers every task and is the floor of every ladder.

The score of an item is a weighted sum of its users by age: ``Σ w[b] · users[b]``, where ``users[b]`` counts
those who last chose it in age bucket ``b``. The trainer of the same name puts the weights into a bundle;
without a bundle it serves with ``DEFAULT_WEIGHTS``, from memory, and cannot fail. The parameter
``window_days`` overrides both: the best sellers of the week are those of a window of 7 days.

For ``trending`` it compares an item's users of the last week with its own past, for each event type: with
``n`` users in the last week and ``p`` in the twelve weeks before, a user counting in every week of a visit,
the item is expected to have ``e = p · Σn / Σp`` users now, which takes out what the whole shop gained or
lost. Taking ``n`` for Poisson distributed, ``z = (n − e) / √(e + 1)`` standard deviations exceed that. The
score is ``Σ w z / √Σ w²`` with the weights ``w`` of the event types. Items whose score is not above 0 are not
trending. While the last week has less than a tenth of the users of a usual week before, as in a holiday or
after a gap in the events, the latest of the three weeks before that has more takes its place.
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
from endcap.sdk.features import AGE_MIDPOINTS, WEEKS


OLD = 1e-4
"""The weight of a user from before the window: it orders items that nobody chose lately."""


def window_weights(days: float) -> NDArray[np.float32]:
    """Return the weights that let everybody of the last days count alike; ``(age buckets,)``."""
    return np.array([1.0 if age <= days else OLD for age in AGE_MIDPOINTS], np.float32)


DEFAULT_WEIGHTS = window_weights(30)
"""The weights without a bundle."""

LATEST_WEEKS = 4
"""The number of weeks that may take the place of the last one."""

EMPTY_WEEK = 0.1
"""A week with less than this share of the users of the mean week before is nearly empty."""


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
            self._common[catalog] = (self._popularity(users), _trend(catalog))
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


def _trend(catalog: CatalogView) -> Scores:
    total, norm = np.zeros(len(catalog), np.float32), 0.0
    week = _last_filled_week(catalog)
    for event_type, users in catalog.users_by_week.items():
        weight = catalog.event_weights.get(event_type, 0.0)
        now, past = users[week], users[week + 1 :].sum(axis=0)
        expected = past * (now.sum() / max(past.sum(), 1))
        total += weight * (now - expected) / np.sqrt(expected + 1)
        norm += weight**2
    trend: Scores = np.where(total > 0, total / np.sqrt(norm or 1), np.nan).astype(np.float32)
    return trend


def _last_filled_week(catalog: CatalogView) -> int:
    """Return the latest week that is not nearly empty, 0 for the last week."""
    users = np.zeros(WEEKS)
    for event_type, by_week in catalog.users_by_week.items():
        if catalog.event_weights.get(event_type, 0.0) > 0:
            users += by_week.sum(axis=1)
    for week in range(LATEST_WEEKS):
        usual = users[week + 1 :].mean()
        if usual and users[week] >= EMPTY_WEEK * usual:
            return week
    return 0


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

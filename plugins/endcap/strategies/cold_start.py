"""Cold start: a ladder of rules, for visitors of whom little is known and shops that have trained nothing.

An item stands on the highest rung that holds it. The parameters say which rungs there are, from the top
down; below them all stands what is popular, so that a list is full whatever the shop knows.

========================  ===================================================  =============================
rung                      holds                                                best first by
========================  ===================================================  =============================
``buy_again``             what the user bought repeatedly and is due           how near the day is to today
``category_best_seller``  what shares a category with the query's context,     popularity
                          if it names none with the user's last events
``on_sale``               what costs less than it usually does                 the reduction, as a share
``new``                   what came in lately                                  popularity
``trending``              what more users choose now than before               the trend that ``popular`` has
========================  ===================================================  =============================

The reason for an item is the name of its rung; an item that nobody chose is neither popular nor a best
seller, and has none on those two.

An item that was bought ``n`` times, the last time ``s`` days after the first, is due ``s / (n − 1)`` days
after the last. Bhagat et al., "Buy It Again: Modeling Repeat Purchase Recommendations" (KDD 2018), is where
the mean interval between purchases comes from; the paper fits distributions to it, which needs training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    Eligibility,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    ScoringStrategy,
    Task,
    hookimpl,
    parameter,
    recommend_by_score,
)
from endcap.sdk.errors import FailedPrecondition, InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.profiles import counted_history


RUNGS = ("buy_again", "category_best_seller", "on_sale", "new", "trending")
"""The rungs that there are, in the order that they have unless the parameters say otherwise."""

FLOOR = "popular"
"""The rung below all others, which holds every item."""

_OF_BUYERS = frozenset({FLOOR, "category_best_seller"})
"""The rungs whose reason says that others chose the item."""


@dataclass(frozen=True)
class ColdStartParameters:
    """The parameters of ``cold_start``."""

    rungs: str = parameter(
        ",".join(RUNGS), "The rungs from the top down, separated by commas; those left out hold nothing."
    )
    discount: float = parameter(
        0.1, "By what share of its usual price an item on sale is reduced at least.", minimum=0, maximum=1
    )
    new_days: float = parameter(30.0, "For how many days after it came in an item is new.", minimum=0)
    category_events: int = parameter(
        5, "How many of the user's last events say which categories are wanted.", minimum=1
    )
    due_from: float = parameter(
        0.5, "After what share of its usual interval an item may be shown again.", minimum=0
    )
    due_until: float = parameter(
        3.0, "After how many of its usual intervals an item counts as no longer wanted.", minimum=0
    )


class ColdStart:
    """Recommends by rules: what is due again, best of a category, on sale, new, trending or popular."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, parameters: ColdStartParameters) -> None:
        popular = resources.strategy("popular")
        if not isinstance(popular, ScoringStrategy):
            raise FailedPrecondition(
                "cold_start goes by the scores of 'popular', which has none: give it one with a method score"
            )
        self._popular = popular
        self._parameters = parameters
        self._rungs = (FLOOR, *reversed(_read_rungs(parameters.rungs)))
        self._places: WeakKeyDictionary[CatalogView, Mapping[str, Scores]] = WeakKeyDictionary()

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query from the top rung down; every item stands on some rung."""
        rankings = recommend_by_score(self, queries, catalog)
        return [
            self._explained(ranking, catalog) if query.explain else ranking
            for ranking, query in zip(rankings, queries, strict=True)
        ]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items: the number of the rung, 0 for the floor, plus the place on it, between 0 and 1."""
        scores = np.full((len(queries), len(catalog)), np.nan, np.float32)
        for own, query in zip(scores, queries, strict=True):
            for height, rung in enumerate(self._rungs):
                places = self._places_on(rung, query, catalog)
                np.copyto(own, height + places, where=~np.isnan(places))
        return scores if rows is None else scores[:, rows]

    def _places_on(self, rung: str, query: Query, catalog: CatalogView) -> Scores:
        """Return the place of every item on a rung, between 0 and 1; NaN for items that it does not hold."""
        if catalog not in self._places:
            self._places[catalog] = self._common_places(catalog)
        places = self._places[catalog]
        match rung:
            case "buy_again":
                return _in_order(self._nearness_to_due(query, len(catalog)))
            case "category_best_seller":
                return np.where(self._in_category(query, catalog), places[FLOOR], np.float32(np.nan))
            case _:
                return places[rung]

    def _common_places(self, catalog: CatalogView) -> Mapping[str, Scores]:
        """Return the places on the rungs that are the same for everybody."""
        everybody = Eligibility(catalog.available)
        questions = [
            Query(task, limit=0, time=catalog.as_of, eligible=everybody)
            for task in (Task.FOR_YOU, Task.TRENDING)
        ]
        popularity, trend = self._popular.score(questions, None, catalog)
        # What came in after the newest event is new as well.
        new = catalog.created >= catalog.as_of - self._parameters.new_days * DAY
        return {
            FLOOR: _in_order(popularity),
            "on_sale": _in_order(self._reductions(catalog)),
            "new": _in_order(np.where(new, popularity, np.nan)),
            "trending": _in_order(trend),
        }

    def _reductions(self, catalog: CatalogView) -> NDArray[np.float64]:
        """Return by what share of its usual price each item is reduced; NaN for those not on sale."""
        prices, usual = catalog.prices, catalog.usual_prices
        on_sale = (prices < usual) & (prices <= (1 - self._parameters.discount) * usual)
        reductions = np.full(len(catalog), np.nan)
        reductions[on_sale] = 1 - prices[on_sale] / usual[on_sale]
        return reductions

    def _in_category(self, query: Query, catalog: CatalogView) -> NDArray[np.bool_]:
        if "category" in query.context:
            return catalog.categories.sharing([query.context["category"]])
        last = counted_history(query, catalog)[-self._parameters.category_events :]
        return catalog.categories.sharing({name for row in last for name in catalog.categories.of_row(row)})

    def _nearness_to_due(self, query: Query, item_count: int) -> NDArray[np.float64]:
        """Return 1 for items that are due now, less the further the day is; NaN for items that are not due.

        ``r`` intervals after the last purchase it is ``min(r, 1 / r)``.
        """
        bought = query.history.types == "purchase"
        # What was bought twice at one moment was bought once.
        rows, times = np.unique(np.stack([query.history.rows, query.history.times])[:, bought], axis=1)
        rows, first, counts = np.unique(rows, return_index=True, return_counts=True)
        repeated = counts > 1
        rows, first, counts = rows[repeated], first[repeated], counts[repeated]
        last_times = times[first + counts - 1]
        intervals = (last_times - times[first]) / (counts - 1)
        passed = (query.time - last_times) / intervals
        due = (passed > 0) & (passed >= self._parameters.due_from) & (passed <= self._parameters.due_until)
        nearness = np.full(item_count, np.nan)
        nearness[rows[due]] = np.minimum(passed[due], 1 / passed[due])
        return nearness

    def _explained(self, ranking: Ranking, catalog: CatalogView) -> Ranking:
        kinds = [self._rungs[height] for height in ranking.scores.astype(np.int64).tolist()]
        chosen = catalog.weighted_users_by_age()[:, ranking.rows].sum(axis=0) > 0
        reasons = tuple(
            (Reason(kind),) if is_chosen or kind not in _OF_BUYERS else ()
            for kind, is_chosen in zip(kinds, chosen.tolist(), strict=True)
        )
        return replace(ranking, reasons=reasons)


def _read_rungs(text: str) -> list[str]:
    """Return the rungs that are named, from the top down.

    Raises:
        InvalidInput: One does not exist or is named twice.
    """
    rungs = [name for part in text.split(",") if (name := part.strip())]
    for place, name in enumerate(rungs):
        if name not in RUNGS or name in rungs[:place]:
            raise InvalidInput(f"rungs must name each of {', '.join(RUNGS)} at most once", field="rungs")
    return rungs


def _in_order(values: NDArray[np.floating]) -> Scores:
    """Return numbers between 0 and 1 in the order of the values, equal for equal ones, NaN for NaN."""
    held = ~np.isnan(values)
    distinct, order = np.unique(values[held], return_inverse=True)
    places = np.full(len(values), np.nan, np.float32)
    places[held] = (order + 1) / (len(distinct) + 1)
    return places


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``cold_start``."""
    register("cold_start", ColdStart, ColdStartParameters)

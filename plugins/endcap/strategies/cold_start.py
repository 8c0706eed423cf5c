"""Cold start: rules in turn, for little-known visitors and for shops that have trained nothing.

Rules are tried in order; the first that matches ranks the item. The parameters name the rules and their
order; below them all stands the fallback, popularity, so that a list is full whatever the shop knows.

========================  ===================================================  =============================
rule                      matches                                              best first by
========================  ===================================================  =============================
``buy_again``             items that the user bought repeatedly and are due    how near the day is to today
``category_best_seller``  items that share a category with the query's         popularity
                          context, or else with the user's last events
``on_sale``               items below their usual price                        the reduction, as a share
``new``                   items that came in lately                            popularity
``trending``              items of more users now than before                  the trend of ``popular``
========================  ===================================================  =============================

The reason for an item is the name of its rule; an item that nobody chose is neither popular nor a best
seller, and has no reason by these two rules.

An item that was bought ``n`` times, the last time ``s`` days after the first, is due ``s / (n − 1)`` days
after the last. The mean interval between purchases comes from Bhagat et al., "Buy It Again: Modeling Repeat
Purchase Recommendations" (KDD 2018); the paper fits distributions to it, which needs training.
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
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import chosen_rows


RULES = ("buy_again", "category_best_seller", "on_sale", "new", "trending")
"""All rules, in their default order."""

FALLBACK = "popular"
"""The rule below all others, which matches every item."""

_OF_BUYERS = frozenset({FALLBACK, "category_best_seller"})
"""The rules whose reason claims that others chose the item."""


@dataclass(frozen=True)
class ColdStartParameters:
    """The parameters of ``cold_start``."""

    rules: str = parameter(
        ",".join(RULES), "The rules in order, separated by commas; a rule that is left out is not tried."
    )
    discount: float = parameter(
        0.1, "Least reduction of an item on sale, as a share of its usual price.", minimum=0, maximum=1
    )
    new_days: float = parameter(30.0, "Days for which an item counts as new.", minimum=0)
    category_events: int = parameter(
        5, "The number of the user's last events whose categories count.", minimum=1
    )
    due_from: float = parameter(
        0.5, "Share of the usual interval after which an item may be shown again.", minimum=0
    )
    due_until: float = parameter(
        3.0, "Number of usual intervals after which an item is no longer due.", minimum=0
    )


class ColdStart:
    """Recommends by rules: items due again, best of a category, on sale, new, trending or popular."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, parameters: ColdStartParameters) -> None:
        popular = resources.strategy("popular")
        if not isinstance(popular, ScoringStrategy):
            raise FailedPrecondition(
                "cold_start needs the scores of 'popular', which has no method score: add one"
            )
        self._popular = popular
        self._parameters = parameters
        self._rules = (FALLBACK, *reversed(_read_rules(parameters.rules)))
        self._places: WeakKeyDictionary[CatalogView, Mapping[str, Scores]] = WeakKeyDictionary()

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query by the rules in order; every item matches one."""
        rankings = recommend_by_score(self, queries, catalog)
        return [
            self._explained(ranking, catalog) if query.explain else ranking
            for ranking, query in zip(rankings, queries, strict=True)
        ]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items: the number of the rule, 0 for the fallback, plus the place by it, between 0 and 1."""
        scores = np.full((len(queries), len(catalog)), np.nan, np.float32)
        for own, query in zip(scores, queries, strict=True):
            for height, rule in enumerate(self._rules):
                places = self._places_by(rule, query, catalog)
                np.copyto(own, height + places, where=~np.isnan(places))
        return scores if rows is None else scores[:, rows]

    def _places_by(self, rule: str, query: Query, catalog: CatalogView) -> Scores:
        """Return the place of every item by a rule, between 0 and 1; NaN for items that it does not match."""
        if catalog not in self._places:
            self._places[catalog] = self._common_places(catalog)
        places = self._places[catalog]
        match rule:
            case "buy_again":
                return _in_order(self._nearness_to_due(query, len(catalog)))
            case "category_best_seller":
                return np.where(self._in_category(query, catalog), places[FALLBACK], np.float32(np.nan))
            case _:
                return places[rule]

    def _common_places(self, catalog: CatalogView) -> Mapping[str, Scores]:
        """Return the places by the rules that are the same for everybody."""
        everybody = Eligibility(catalog.available)
        questions = [
            Query(task, limit=0, time=catalog.as_of, eligible=everybody)
            for task in (Task.FOR_YOU, Task.TRENDING)
        ]
        popularity, trend = self._popular.score(questions, None, catalog)
        # What came in after the newest event is new as well.
        new = catalog.created >= catalog.as_of - self._parameters.new_days * DAY
        return {
            FALLBACK: _in_order(popularity),
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
        positives = Positives.of_weights(catalog.event_weights)
        last = chosen_rows(query, positives)[-self._parameters.category_events :]
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
        kinds = [self._rules[height] for height in ranking.scores.astype(np.int64).tolist()]
        chosen = catalog.weighted_users_by_age()[:, ranking.rows].sum(axis=0) > 0
        reasons = tuple(
            (Reason(kind),) if is_chosen or kind not in _OF_BUYERS else ()
            for kind, is_chosen in zip(kinds, chosen.tolist(), strict=True)
        )
        return replace(ranking, reasons=reasons)


def _read_rules(text: str) -> list[str]:
    """Return the rules that are named, in order.

    Raises:
        InvalidInput: A rule does not exist or is named twice.
    """
    rules = [name for part in text.split(",") if (name := part.strip())]
    for place, name in enumerate(rules):
        if name not in RULES or name in rules[:place]:
            raise InvalidInput(f"rules must name each of {', '.join(RULES)} at most once", field="rules")
    return rules


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

"""What holds of every answer: for any catalog, filters, history, rules and however a plugin behaves."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from endcap.catalog.configuration.placements import Placement
from endcap.catalog.configuration.rules import (
    Action,
    BiasRule,
    BiasTarget,
    BoostRule,
    CapRule,
    DiversityMethod,
    DiversityRule,
    FatigueRule,
    FilterRule,
    PinRule,
    QuotaRule,
    Rule,
)
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.rows import TimedView
from endcap.catalog.memory.schedules import NEVER, Schedule
from endcap.catalog.memory.user_counts import count_log
from endcap.runtime.instances import Generation
from endcap.sdk import CatalogView, Query, Ranking, Task
from endcap.sdk.filters import parse_filter
from endcap.sdk.testing import SampleItem, catalog
from endcap.sdk.text import tokenize
from endcap.server.recommending.answer import RecommendationAnswer
from endcap.server.recommending.lookups import Exposures, Lookups, Matches
from endcap.server.recommending.pipeline import Pipeline
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.reranking import compile_rules, similarity
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.ladders import Ladder, Rung
from endcap.server.serving.masks import Masks
from endcap.server.serving.state import ServedShop, ShopState


OWN = {Task.RANK, Task.SEARCH, Task.RECENTLY_VIEWED}
"""The tasks that name the only rows that may be shown."""

FILTERS: dict[str, Callable[[SampleItem], bool]] = {
    "price < 5": lambda item: item.price < 5,
    'brand = "Acme"': lambda item: item.brand == "Acme",
    'NOT tags:"new"': lambda item: "new" not in item.tags,
    "price >= 3 AND price <= 7": lambda item: 3 <= item.price <= 7,
}


class Known:
    """What a database that holds nothing but exposures and matches would answer."""

    def __init__(self, matches: Sequence[int], exposures: Sequence[tuple[int, int]]) -> None:
        self._matches = Matches(np.array(matches, np.int32), np.arange(len(matches), 0, -1, dtype=np.float32))
        self._exposures = Exposures(exposures)

    async def matches(self, *_: object, **__: object) -> Matches:
        return self._matches

    async def exposures(self, *_: object, **__: object) -> Exposures:
        return self._exposures


class Hostile:
    """Names whatever rows it was told to, allowed or not, or does worse."""

    tasks = frozenset(Task)

    def __init__(self, rows: Sequence[int], scores: Sequence[float], misdeed: str) -> None:
        self._ranking = Ranking(np.array(rows, np.int32), np.array(scores, np.float32))
        self._misdeed = misdeed

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Any:
        if self._misdeed == "raises":
            raise RuntimeError("broken")
        if self._misdeed == "none":
            return None
        if self._misdeed == "too few":
            return [self._ranking] * (len(queries) - 1)
        return [self._ranking] * len(queries)


class Floor:
    """Ranks every allowed row by its number; scores may fall from one to the next, or not."""

    tasks = frozenset(Task)

    def __init__(self, step: float = 1.0) -> None:
        self._step = step

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        rankings = []
        for query in queries:
            rows = np.flatnonzero(query.eligible.mask).astype(np.int32)
            if query.candidates is not None:
                rows = rows[np.isin(rows, query.candidates)]
            rows = rows[~np.isin(rows, query.eligible.excluded)][: query.limit]
            rankings.append(Ranking(rows, -self._step * rows.astype(np.float32)))
        return rankings


items = st.builds(
    lambda price, original, cost, brand, tags, group, available: SampleItem(
        "",
        price=price,
        original_price=original,
        cost=cost,
        brand=brand,
        tags=tags,
        group_id=group,
        available=available,
    ),
    price=st.integers(1, 9).map(float),
    original=st.sampled_from([float("nan"), 5.0, 20.0]),
    cost=st.sampled_from([float("nan"), 0.5, 4.0]),
    brand=st.sampled_from(["Acme", "Best", ""]),
    tags=st.sampled_from([(), ("new",), ("sale",), ("new", "sale")]),
    group=st.sampled_from(["", "", "g1", "g2"]),
    available=st.sampled_from([True, True, True, False]),
)

attributes = st.sampled_from(["brand", "tags"])
filters = st.sampled_from(sorted(FILTERS))


def pins(size: int) -> st.SearchStrategy[Action]:
    """Draw pins of the items of a shelf, of one past its end at times, and slots."""
    return st.builds(PinRule, st.integers(1, 6), item_id=st.integers(0, size).map("i{}".format)) | st.builds(
        PinRule, st.integers(1, 6), filter=filters
    )


def actions(size: int) -> st.SearchStrategy[Action]:
    """Draw what a rule may do to a shelf of so many items."""
    return pins(size) | st.one_of(
        st.builds(FilterRule, filters),
        st.builds(BoostRule, filters, st.sampled_from([-1.0, -0.3, 0.5, 1.0])),
        st.builds(BiasRule, st.sampled_from(BiasTarget), st.sampled_from([-1.0, 1.0])),
        st.builds(FatigueRule, st.integers(1, 3), st.integers(1, 5), st.sampled_from([0.5, 1.0])),
        st.builds(CapRule, attributes, st.integers(1, 3), st.none() | st.integers(2, 4)),
        st.builds(QuotaRule, filters, st.sampled_from([0.3, 0.5, 1.0])),
        st.builds(
            DiversityRule,
            st.sampled_from(DiversityMethod),
            level=st.sampled_from([0.3, 1.0]),
            attribute=st.just("brand"),
            window=st.integers(2, 3),
        ),
    )


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    different = draw(st.lists(items, min_size=1, max_size=20) | st.lists(items, min_size=10, max_size=20))
    alike = draw(st.sampled_from([1, 1, 1, 120 // len(different) + 1]))  # at times more than a pool holds
    shelf = [
        replace(item, id=f"i{row}")
        for row, item in enumerate(item for item in different for _ in range(alike))
    ]
    some = st.lists(st.integers(-2, len(shelf) + 1), max_size=12)
    on_shelf = st.integers(0, len(shelf) - 1)
    named = draw(some)
    some_pins = st.lists(pins(len(shelf)), max_size=3)
    rules = draw(st.just([]) | st.lists(actions(len(shelf)), max_size=4)) + draw(st.just([]) | some_pins)
    return {
        "shelf": shelf,
        "rules": [Rule(f"rule {number}", action) for number, action in enumerate(rules)],
        "filter": draw(st.none() | filters),
        "bought": draw(st.sets(on_shelf, max_size=4)),
        "viewed": draw(st.sets(on_shelf, max_size=8)),
        "exposures": draw(st.lists(st.tuples(st.integers(0, 5), on_shelf), max_size=20)),
        "excluded": draw(st.sets(on_shelf, max_size=3)),
        "task": draw(st.sampled_from([Task.FOR_YOU, Task.SIMILAR, *sorted(OWN)])),
        "named": sorted(draw(st.sets(on_shelf, min_size=1, max_size=8))),
        "hostile": Hostile(
            named,
            [draw(st.floats(width=32)) for _ in named],
            draw(st.sampled_from(["", "", "", "raises", "none", "too few"])),
        ),
        "floor": Floor(),
        "page_size": draw(st.integers(1, 4) | st.integers(1, 12)),
    }


def plain(shelf: Sequence[SampleItem], *rules: Action, page_size: int = 8) -> dict[str, Any]:
    """Return the situation of a stranger on the home page, where items are ranked in the shelf's order."""
    return {
        "shelf": shelf,
        "rules": [Rule(f"rule {number}", action) for number, action in enumerate(rules)],
        "filter": None,
        "bought": set(),
        "viewed": set(),
        "exposures": [],
        "excluded": set(),
        "task": Task.FOR_YOU,
        "named": [],
        "hostile": Hostile([], [], ""),
        "floor": Floor(),
        "page_size": page_size,
    }


def answer(situation: dict[str, Any], shown: tuple[int, ...] = ()) -> RecommendationAnswer:
    view = catalog(situation["shelf"])
    histories = Histories(view.vocabulary)
    histories.extend(("ann", None, f"i{row}", "view", 0, 1) for row in situation["viewed"])
    histories.extend(("ann", None, f"i{row}", "purchase", 1, 1) for row in situation["bought"])
    rungs = tuple(
        Rung(name, (), Batcher(name, strategy, max_batch_size=8))
        for name, strategy in (("hostile", situation["hostile"]), ("floor", situation["floor"]))
    )
    ladder = Ladder(
        Placement("home", situation["task"], (), exclude_seen=situation["task"] not in OWN),
        rungs,
        rules=compile_rules(situation["rules"]),
    )
    state = ShopState(
        TimedView(view, Schedule.of([]), NEVER, 0, count_log(None, histories.log())),
        Masks(view),
        histories,
        Generation.of([]),
        {"home": ladder},
    )
    named = tuple(f"i{row}" for row in situation["named"])
    request = RecommendationRequest(
        "r1",
        "home",
        time=5,
        user_id="ann",
        item_ids=named if situation["task"] is Task.SIMILAR else (),
        candidate_item_ids=named if situation["task"] is Task.RANK else (),
        exclude_item_ids=tuple(f"i{row}" for row in situation["excluded"]),
        text="mug" if situation["task"] is Task.SEARCH else "",
        trace=True,
        filter=parse_filter(situation["filter"]) if situation["filter"] else None,
        page_size=situation["page_size"],
        shown=shown,
    )
    lookups = cast("Lookups", Known(situation["named"], situation["exposures"]))
    pipeline = Pipeline(lookups, rung_timeout=5, observe_rung=lambda *_rung: None)
    shop = ServedShop("default", b"key", state, renewed_at=0.0)
    return asyncio.run(pipeline.recommend(request, shop, state, time.monotonic() + 10))


def allowed(situation: dict[str, Any], shown: Sequence[int] = ()) -> set[int]:
    """Return the rows that may be shown, by a plain reading of the rules of eligibility."""
    shelf, task = situation["shelf"], situation["task"]
    conditions = [situation["filter"]] if situation["filter"] else []
    conditions += [rule.action.filter for rule in situation["rules"] if isinstance(rule.action, FilterRule)]
    seen = set(situation["bought"]) if task not in OWN else set()
    own = set(situation["viewed"] if task is Task.RECENTLY_VIEWED else situation["named"])
    page = set(situation["named"]) if task is Task.SIMILAR else set()
    gone = seen | page | set(shown)
    groups = {shelf[row].group_id for row in gone} - {""}
    return {
        row
        for row, item in enumerate(shelf)
        if item.available
        and all(FILTERS[condition](item) for condition in conditions)
        and row not in situation["excluded"] | gone
        and item.group_id not in groups
        and (task not in OWN or row in own)
    }


def labels(item: SampleItem, attribute: str) -> tuple[str, ...]:
    return item.tags if attribute == "tags" else (item.brand,) if item.brand else ()


def fits_at_the_end(page: Sequence[SampleItem], item: SampleItem, cap: CapRule) -> bool:
    counted = page if cap.window is None else page[max(len(page) - cap.window + 1, 0) :]
    return all(
        sum(label in labels(other, cap.attribute) for other in counted) < cap.maximum_count
        for label in labels(item, cap.attribute)
    )


@settings(max_examples=100, deadline=None)
@given(situations())
def test_an_answer_holds_only_what_is_allowed_and_is_short_only_when_nothing_more_is(
    situation: dict[str, Any],
) -> None:
    found = answer(situation)

    rows = [item.row for item in found.items]
    page = [situation["shelf"][row] for row in rows]
    groups = [item.group_id for item in page if item.group_id]
    assert set(rows) <= allowed(situation)
    assert len(rows) == len(set(rows)) <= situation["page_size"]
    assert len(groups) == len(set(groups))
    assert all(np.isfinite(item.score) for item in found.items)
    if len(rows) < situation["page_size"]:
        caps = [rule.action for rule in situation["rules"] if isinstance(rule.action, CapRule)]
        for row in allowed(situation) - set(rows):
            item = situation["shelf"][row]
            assert item.group_id in groups or not all(fits_at_the_end(page, item, cap) for cap in caps)


@settings(max_examples=40, deadline=None)
@given(situations())
def test_pages_show_no_item_twice_and_leave_none_out(
    situation: dict[str, Any],
) -> None:
    shown: list[int] = []
    while True:
        found = answer(situation, tuple(shown))
        shown += [item.row for item in found.items]
        if not found.has_more:
            break

    left = allowed(situation, shown) - set(shown)
    assert len(shown) == len(set(shown))
    assert set(shown) <= allowed(situation)
    assert not left


def still_to_come(situation: dict[str, Any], rows: Sequence[int]) -> list[SampleItem]:
    """Return the items that could stand behind some, those that do included."""
    shelf = situation["shelf"]
    groups = {shelf[row].group_id for row in rows} - {""}
    return [shelf[row] for row in allowed(situation) - set(rows) if shelf[row].group_id not in groups]


@settings(max_examples=40, deadline=None)
@given(situations(), st.integers(2, 4))
def test_a_window_is_kept_wherever_any_of_the_best_hundred_items_could(
    situation: dict[str, Any], length: int
) -> None:
    assume(len(situation["shelf"]) <= 100)
    window = DiversityRule(DiversityMethod.WINDOW, attribute="brand", window=length)
    situation |= {"rules": [Rule("window", window)], "hostile": Hostile([], [], "")}

    rows = [item.row for item in answer(situation).items]

    for place, row in enumerate(rows):
        near = {situation["shelf"][other].brand for other in rows[max(place - length + 1, 0) : place]} - {""}
        if situation["shelf"][row].brand in near:
            assert all(item.brand in near for item in still_to_come(situation, rows[:place]))


@settings(max_examples=40, deadline=None)
@given(situations(), filters)
def test_where_scores_are_equal_what_is_buried_follows_all_that_is_not(
    situation: dict[str, Any], buried: str
) -> None:
    situation |= {
        "rules": [Rule("bury", BoostRule(buried, -1))],
        "hostile": Hostile([], [], ""),
        "floor": Floor(step=0),
    }

    rows = [item.row for item in answer(situation).items]

    for place, row in enumerate(rows):
        if FILTERS[buried](situation["shelf"][row]):
            assert all(FILTERS[buried](item) for item in still_to_come(situation, rows[:place]))


@settings(max_examples=20, deadline=None)
@given(situations())
def test_the_same_request_on_the_same_state_has_the_same_answer(situation: dict[str, Any]) -> None:
    first, second = answer(situation), answer(situation)

    assert [(item.row, item.score) for item in first.items] == [
        (item.row, item.score) for item in second.items
    ]


@pytest.mark.parametrize("task", sorted(OWN))
def test_a_pin_reaches_no_item_that_the_task_leaves_out(task: Task) -> None:
    situation = plain(
        [SampleItem(f"i{row}") for row in range(4)], PinRule(1, item_id="i3"), PinRule(2, item_id="i1")
    )
    situation |= {"task": task, "named": [0, 1, 2], "viewed": {0, 1, 2}}

    assert [item.item_id for item in answer(situation).items] == ["i0", "i1", "i2"]


DEAR = [
    SampleItem(f"dear {row}", brand="Acme", price=10.0, original_price=12.0, cost=9.0) for row in range(150)
]
CHEAP = [
    SampleItem(f"cheap {row}", brand="Best", price=5.0, original_price=10.0, cost=1.0) for row in range(150)
]
"""Half a shop each, and more than are looked at for one page."""


@pytest.mark.parametrize(
    "rule",
    [
        BoostRule('brand = "Acme"', -1),
        BoostRule('brand = "Best"', 1),
    ],
)
def test_boosts_reach_past_any_number_of_better_items(rule: Action) -> None:
    found = answer(plain([*DEAR, *CHEAP], rule))

    assert [item.item_id for item in found.items] == [f"cheap {row}" for row in range(8)]


@pytest.mark.parametrize(
    "rule",
    [
        BiasRule(BiasTarget.PRICE, -1),
        BiasRule(BiasTarget.MARGIN, 1),
        BiasRule(BiasTarget.DISCOUNT, 1),
    ],
)
def test_a_bias_reaches_past_any_number_of_items_that_score_as_well(rule: Action) -> None:
    found = answer(plain([*DEAR, *CHEAP], rule) | {"floor": Floor(step=0)})

    assert [item.item_id for item in found.items] == [f"cheap {row}" for row in range(8)]


def test_what_a_user_is_tired_of_makes_room_however_much_it_is() -> None:
    situation = plain([*DEAR, *CHEAP], FatigueRule(exposure_count=1, window=5, strength=1))
    situation["exposures"] = [(time, row) for row in range(150) for time in (3, 4)]

    assert [item.item_id for item in answer(situation).items] == [f"cheap {row}" for row in range(8)]


def counts(found: RecommendationAnswer) -> dict[str, Any]:
    return {outcome.name: dict(outcome.counts) for outcome in found.rules}


@pytest.mark.parametrize(
    "rule",
    [
        DiversityRule(DiversityMethod.WINDOW, attribute="brand", window=3),
        DiversityRule(DiversityMethod.MMR, level=1),
        DiversityRule(DiversityMethod.DPP, level=1),
    ],
)
def test_diversity_chooses_among_the_best_hundred_and_says_where_they_are_too_alike(rule: Action) -> None:
    alike = [replace(item, title="red mug") for item in DEAR]
    unlike = [replace(item, title="kettle") for item in CHEAP]

    far = answer(plain([*alike, *unlike], rule, page_size=4))
    near = answer(plain([*alike[:99], *unlike], rule, page_size=2))

    assert [item.item_id for item in far.items] == [f"dear {row}" for row in range(4)]
    assert counts(far) == {"rule 0": {"crowded": 3}}
    assert [item.item_id for item in near.items] == ["dear 0", "cheap 0"]
    assert counts(near) == {"rule 0": {"crowded": 0}}


def test_the_words_of_items_are_compared_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[threading.Thread] = set()

    def noted(text: str) -> list[str]:
        threads.add(threading.current_thread())
        return tokenize(text)

    monkeypatch.setattr(similarity, "tokenize", noted)

    found = answer(plain([*DEAR, *CHEAP], DiversityRule(DiversityMethod.MMR)))

    assert len(found.items) == 8
    assert threads
    assert threading.main_thread() not in threads


class Counting(Floor):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        self.limits += [query.limit for query in queries]
        return super().recommend(queries, catalog)


@pytest.mark.parametrize(
    ("rule", "page_size", "limits"),
    [
        (None, 8, [8]),
        (DiversityRule(DiversityMethod.MMR, level=1), 8, [100]),
        (DiversityRule(DiversityMethod.MMR, level=1), 30, [150]),
        (CapRule("brand", 5), 8, [100, 1000]),  # the first 100 are of one brand
        (CapRule("brand", 1), 8, [100, 1000]),  # two brands are all there are
    ],
)
def test_a_strategy_is_asked_once_and_once_more_where_caps_starve_the_page(
    rule: Action | None, page_size: int, limits: list[int]
) -> None:
    floor = Counting()
    rules = [] if rule is None else [rule]

    answer(plain([*DEAR, *CHEAP], *rules, page_size=page_size) | {"floor": floor})

    assert floor.limits == limits


def test_a_page_is_full_though_a_product_has_any_number_of_variants() -> None:
    shelf = [SampleItem(f"mug {row}", group_id="mug") for row in range(300)] + [
        SampleItem("kettle"),
        SampleItem("pot"),
    ]

    found = answer(plain(shelf, page_size=3))

    assert [item.item_id for item in found.items] == ["mug 0", "kettle", "pot"]


def test_what_a_cap_keeps_out_stands_on_the_next_page() -> None:
    situation = plain([*DEAR[:3], *CHEAP[:3]], CapRule("brand", 2), page_size=5)

    first = answer(situation)
    second = answer(situation, tuple(item.row for item in first.items))

    assert [item.item_id for item in first.items] == ["dear 0", "dear 1", "cheap 0", "cheap 1"]
    assert [item.item_id for item in second.items] == ["dear 2", "cheap 2"]
    assert first.has_more
    assert not second.has_more

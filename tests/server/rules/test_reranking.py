"""What holds of every page, whatever the shop, the ranking and the rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from endcap.catalog.configuration.rules import (
    Action,
    BiasRule,
    BiasTarget,
    BoostRule,
    CapRule,
    DiversityMethod,
    DiversityRule,
    FatigueRule,
    PinRule,
    QuotaRule,
)
from endcap.sdk.testing import SampleItem


PageOf = Callable[..., Any]

IDS = [f"item-{number}" for number in range(12)]
FILTERS = st.sampled_from(['brand = "Acme"', 'tags:"new"', "price > 2", 'id = "item-3"'])
ITEMS = st.builds(
    SampleItem,
    id=st.just(""),
    title=st.sampled_from(["", "red mug", "blue mug", "steel kettle"]),
    brand=st.sampled_from(["", "Acme", "Bolt"]),
    tags=st.sets(st.sampled_from(["new", "sale", "eco"])).map(lambda tags: tuple(sorted(tags))),
    group_id=st.sampled_from(["", "", "mugs", "kettles"]),
    price=st.sampled_from([1.0, 2.0, 3.0, float("nan")]),
    attributes=st.sampled_from([{}, {"size": 1.0}, {"size": 2.0}]),
)
ATTRIBUTES = st.sampled_from(["brand", "tags", "attributes.size", "group_id"])
STRENGTHS = st.sampled_from([-1.0, -0.3, 0.3, 1.0])
PAGE_CAPS = st.builds(CapRule, ATTRIBUTES, st.integers(1, 2))
CAPS = PAGE_CAPS | st.builds(CapRule, ATTRIBUTES, st.integers(1, 2), window=st.integers(2, 3))
NAMED_PINS = st.builds(PinRule, st.integers(1, 8), item_id=st.sampled_from(IDS))
PINS = NAMED_PINS | st.builds(PinRule, st.integers(1, 8), filter=FILTERS)
QUOTAS = st.builds(QuotaRule, FILTERS, share=st.sampled_from([0.3, 0.6, 1.0]))
OTHERS = (
    st.builds(BoostRule, FILTERS, STRENGTHS)
    | st.builds(BiasRule, st.sampled_from(BiasTarget), STRENGTHS)
    | st.just(FatigueRule(exposure_count=1))
    | st.builds(DiversityRule, st.just(DiversityMethod.WINDOW), attribute=ATTRIBUTES)
    | st.builds(
        DiversityRule,
        st.sampled_from([DiversityMethod.MMR, DiversityMethod.DPP]),
        level=st.sampled_from([0.0, 0.5, 1.0]),
    )
)


@dataclass(frozen=True)
class Case:
    items: list[SampleItem]
    candidates: list[str]
    scores: list[float]
    rungs: list[int]
    actions: list[Action]
    page_size: int

    def page(self, page_of: PageOf, added: Sequence[str] = ()) -> Any:
        return page_of(
            self.items,
            *self.actions,
            candidates=[*self.candidates, *added],
            scores=[*self.scores, *(5.0 for _ in added)],
            tiers=[*self.rungs, *(9 for _ in added)],
            page_size=self.page_size,
            exposures={"item-0": 2, "item-5": 4},
        )

    def of(self, item_id: str) -> SampleItem:
        return self.items[IDS.index(item_id)]

    def all_of(self, kind: type[Action]) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]


@st.composite
def cases(draw: st.DrawFn, *kinds: st.SearchStrategy[Any]) -> Case:
    drawn = draw(st.lists(ITEMS, min_size=12, max_size=12))
    candidates = draw(st.lists(st.sampled_from(IDS), unique=True))
    size = len(candidates)
    return Case(
        [SampleItem(**{**vars_of(item), "id": item_id}) for item, item_id in zip(drawn, IDS, strict=True)],
        candidates,
        draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=size, max_size=size)),
        sorted(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))),
        draw(st.lists(st.one_of(*kinds), max_size=5)),
        draw(st.integers(1, 12)),
    )


def vars_of(item: SampleItem) -> dict[str, Any]:
    return {name: getattr(item, name) for name in SampleItem.__slots__}


def values(item: SampleItem, attribute: str) -> tuple[Any, ...]:
    if attribute == "brand":
        return (item.brand,) if item.brand else ()
    if attribute == "group_id":
        return (item.group_id,) if item.group_id else ()
    return item.tags if attribute == "tags" else tuple(item.attributes.values())


def fits(case: Case, ids: Sequence[str], place: int) -> bool:
    """Whether no stretch that holds a place has more of a value of the item there than a cap allows."""
    for cap in case.all_of(CapRule):
        length = cap.window or len(ids)
        for start in range(max(place - length + 1, 0), place + 1):
            stretch = [values(case.of(item_id), cap.attribute) for item_id in ids[start : start + length]]
            for value in values(case.of(ids[place]), cap.attribute):
                if sum(value in of_item for of_item in stretch) > cap.maximum_count:
                    return False
    return True


def groups(case: Case, ids: Sequence[str]) -> list[str]:
    return [case.of(item_id).group_id or item_id for item_id in ids]


@given(cases(CAPS, PINS, QUOTAS, OTHERS))
def test_a_page_repeats_no_item_and_no_product(page_of: PageOf, case: Case) -> None:
    page = case.page(page_of)

    assert len(page.ids) <= case.page_size
    assert set(page.ids) <= set(case.candidates)
    assert len(set(groups(case, page.ids))) == len(page.ids)


@given(cases(CAPS, QUOTAS, OTHERS))
def test_caps_hold_exactly(page_of: PageOf, case: Case) -> None:
    ids = case.page(page_of).ids

    assert all(fits(case, ids, place) for place in range(len(ids)))


@given(cases(CAPS, PINS))
def test_what_is_not_pinned_keeps_to_the_caps_with_pins_counted(page_of: PageOf, case: Case) -> None:
    page = case.page(page_of)
    positions = {pin.position for pin in case.all_of(PinRule)}
    moved_up = [
        place for place, pinned in enumerate(page.reranked.pinned) if pinned and place + 1 not in positions
    ]

    for place, pinned in enumerate(page.reranked.pinned):
        assert pinned or moved_up or fits(case, page.ids, place)


@given(cases(CAPS, PINS, QUOTAS, OTHERS))
def test_a_page_is_short_only_where_nothing_is_left_to_let_in(page_of: PageOf, case: Case) -> None:
    page = case.page(page_of)
    shown = groups(case, page.ids)
    let_in = [
        item_id
        for item_id in IDS
        if groups(case, [item_id])[0] not in shown and fits(case, [*page.ids, item_id], len(page.ids))
    ]

    if len(page.ids) < case.page_size:
        assert not set(let_in) & set(case.candidates)
        if page.open_ids is not None:
            assert page.open_ids == let_in
    else:
        assert page.open_ids is None


@given(cases(CAPS, QUOTAS, OTHERS) | cases(PAGE_CAPS, NAMED_PINS, OTHERS), st.randoms(use_true_random=False))
def test_open_rows_make_a_short_page_longer(page_of: PageOf, case: Case, random: Any) -> None:
    page = case.page(page_of)
    taken = {*case.candidates, *(pin.item_id for pin in case.all_of(PinRule))}
    new = [item_id for item_id in page.open_ids or IDS if item_id not in taken]
    assume(len(page.ids) < case.page_size and page.open_ids != [] and new)

    longer = case.page(page_of, random.sample(new, random.randint(1, len(new))))

    assert len(longer.ids) > len(page.ids)
    if not case.all_of(QuotaRule) and not case.all_of(PinRule):
        assert longer.ids[: len(page.ids)] == page.ids


@given(cases(CAPS, PINS, QUOTAS, OTHERS))
def test_the_same_candidates_give_the_same_page(page_of: PageOf, case: Case) -> None:
    first, second = case.page(page_of), case.page(page_of)

    assert first.ids == second.ids
    assert first.counts == second.counts


@given(cases(CAPS, PINS, QUOTAS, OTHERS))
def test_the_first_item_pinned_is_at_its_position(page_of: PageOf, case: Case) -> None:
    page = case.page(page_of)
    named = [
        pin
        for pin in case.all_of(PinRule)
        if pin.item_id in case.candidates and pin.position <= case.page_size
    ]

    if named:
        place = page.ids.index(named[0].item_id)
        assert page.reranked.pinned[place]
        assert place == named[0].position - 1 or len(page.ids) < named[0].position


@given(cases(CAPS, PINS, QUOTAS, OTHERS))
def test_each_rule_counts_what_it_did_in_the_order_applied(page_of: PageOf, case: Case) -> None:
    stages = {"boost": 1, "bias": 1, "fatigue": 2, "diversity": 3, "cap": 4, "quota": 5, "pin": 6}
    outcomes = case.page(page_of).reranked.outcomes
    applied = sorted(enumerate(case.actions, start=1), key=lambda numbered: stages[numbered[1].kind])

    assert [outcome.name for outcome in outcomes] == [f"{action.kind} {n}" for n, action in applied]
    assert all(count >= 0 for outcome in outcomes for count in outcome.counts.values())


def test_without_rules_a_page_is_the_best_of_the_lowest_tier_first(page_of: PageOf) -> None:
    page = page_of(
        [SampleItem(letter) for letter in "abcdef"],
        scores=[1.0, 9.0, 5.0, 80.0, 70.0, 90.0],
        tiers=[0, 0, 0, 1, 1, 1],
        page_size=5,
    )

    assert page.ids == list("bcafd")
    assert page.reranked.outcomes == ()
    assert page.reranked.open is None


def test_of_a_product_the_best_variant_is_shown(page_of: PageOf) -> None:
    items = [SampleItem("red", group_id="mug"), SampleItem("kettle"), SampleItem("blue", group_id="mug")]

    page = page_of(items, scores=[1.0, 2.0, 3.0])

    assert page.ids == ["blue", "kettle"]
    assert page.open_ids == []


@pytest.mark.parametrize("page_size", [1, 10])
def test_a_page_of_nothing_is_empty(page_of: PageOf, page_size: int) -> None:
    actions = [CapRule("brand", 1), QuotaRule("price < 5", 0.5), DiversityRule(DiversityMethod.MMR)]

    page = page_of(
        [SampleItem("a", brand="x")], *actions, PinRule(1, item_id="a"), candidates=[], page_size=page_size
    )

    assert page.ids == []
    assert page.open_ids == ["a"]

"""Rules are read once: what could never run is rejected, and what candidates must hold is told."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest

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
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filters import parse_filter
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.reranking import RerankContext, compile_rules


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (FilterRule("price <"), 'rule "spring": '),
        (FilterRule("  "), "the filter is empty"),
        (FilterRule("title:x" + " " * 4090), "the length of the filter is 4097; use 1 to 4096"),
        (BoostRule("price < 5", 1.5), "strength is 1.5; use -1 to 1"),
        (BoostRule("price < 5", nan), "strength is nan"),
        (BiasRule(BiasTarget.PRICE, -2.0), "strength is -2.0; use -1 to 1"),
        (FatigueRule(exposure_count=0), "exposure_count is 0; use 1 to 1000"),
        (FatigueRule(window=91 * 86_400_000), "window in milliseconds"),
        (FatigueRule(strength=-0.5), "strength is -0.5; use 0 to 1"),
        (DiversityRule(), '"" cannot be counted; use one of brand'),
        (DiversityRule(attribute="brand", window=1), "window is 1; use 2 to 100"),
        (DiversityRule(DiversityMethod.MMR, level=1.1), "level is 1.1; use 0 to 1"),
        (CapRule("price", 1), '"price" cannot be counted; use one of brand'),
        (CapRule("attributes.", 1), '"attributes." cannot be counted'),
        (CapRule("brand", 0), "maximum_count is 0; use 1 to 100"),
        (CapRule("brand", 1, window=101), "window is 101; use 2 to 100"),
        (QuotaRule("price < 5", 0.0), "share is 0"),
        (QuotaRule("price < 5", 1.1), "share is 1.1; use 0 to 1"),
        (PinRule(0, item_id="mug"), "position is 0; use 1 to 100"),
        (PinRule(1), "set one of them"),
        (PinRule(1, item_id="mug", filter="price < 5"), "set one of them"),
    ],
)
def test_a_rule_that_could_never_run_is_rejected_by_its_name(action: Action, message: str) -> None:
    with pytest.raises(InvalidInput, match='rule "spring"') as rejected:
        compile_rules([Rule("fine", FatigueRule()), Rule("spring", action, disabled=True)])

    assert message in str(rejected.value)
    assert rejected.value.field == "rules"


def test_names_are_unique_and_neither_empty_nor_long() -> None:
    for rules in ([Rule("x", FatigueRule())] * 2, [Rule("", FatigueRule())], [Rule("x" * 65, FatigueRule())]):
        with pytest.raises(InvalidInput, match="name"):
            compile_rules(rules)


def test_a_rule_that_ends_before_it_starts_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="ends before it starts"):
        compile_rules([Rule("spring", FatigueRule(), start_time=5, end_time=5)])


def test_only_the_rules_in_force_count() -> None:
    spring = Rule("spring", FilterRule("price < 5"), start_time=10, end_time=20)
    rules = compile_rules([spring, Rule("off", FatigueRule(), disabled=True)])

    assert list(rules.at(10).filters) == ["spring"]
    assert rules.at(20).filters == {}
    assert rules.at(10).needs_exposures == 0


def test_filters_are_told_by_name_and_rerank_nothing() -> None:
    rules = compile_rules([Rule("cheap", FilterRule("price < 5")), Rule("toys", FilterRule('tags:"toy"'))])

    assert rules.filters == {
        "cheap": parse_filter("price < 5"),
        "toys": parse_filter('tags:"toy"'),
    }
    assert not rules.reranks
    assert rules.pinned_ids(10) == []
    assert compile_rules([Rule("cap", CapRule("brand", 1))]).reranks


def test_every_filter_that_a_rule_names_is_told() -> None:
    rules = compile_rules(
        [
            Rule("only", FilterRule("price < 5")),
            Rule("lift", BoostRule("price < 4", 1)),
            Rule("bury", BoostRule("price < 3", -1)),
            Rule("share", QuotaRule("price < 2", 0.5)),
            Rule("slot", PinRule(1, filter="price < 1")),
            Rule("item", PinRule(2, item_id="mug")),
            Rule("cap", CapRule("brand", 1)),
        ]
    )

    assert sorted(each.text for each in rules.conditions) == [f"price < {price}" for price in (1, 2, 3, 4, 5)]


def test_the_longest_look_back_is_told() -> None:
    fatigue = FatigueRule(window=5)

    rules = compile_rules([Rule("short", fatigue), Rule("long", replace(fatigue, window=9))])

    assert rules.needs_exposures == 9


def test_candidates_should_hold_what_rules_ask_for() -> None:
    view = catalog(
        [SampleItem(f"{n}", price=float(n), tags=("new",) if n < 2 else ("sold",)) for n in range(9)]
    )
    new = 'tags:"new"'
    actions: list[Action] = [
        BoostRule("price < 5", 0.5),
        BoostRule("price > 6", -0.5),
        QuotaRule(new, 0.3),
        PinRule(1, filter=new),
        PinRule(2, filter=new),
        PinRule(3, item_id="mug"),
        PinRule(11, item_id="kettle"),
        QuotaRule("price < 1", 0.01),
        QuotaRule("price < 3", 1.0),
        PinRule(4, filter="price < 3"),
    ]
    rules = compile_rules([Rule(f"{n}", action) for n, action in enumerate(actions)])
    masks = {each.text: each.mask(view) for each in rules.conditions}
    allowed = np.arange(9) > 0

    first = rules.required(RerankContext(view, 10, True, masks), allowed)
    second = rules.required(RerankContext(view, 10, False, masks), allowed)

    assert [(len(view.prices[each.rows]), each.count, each.others, each.is_hard) for each in first] == [
        (5, 11, 4, False),  # one more than fit
        (7, 11, 2, False),  # what is not buried
        (2, 5, 7, True),  # a quota of 3 and two slots
        (3, 11, 6, True),
    ]
    assert [each.count for each in second] == [11, 11, 3, 10]  # slots are for the first page
    assert rules.pinned_ids(10) == [(2, "mug")]

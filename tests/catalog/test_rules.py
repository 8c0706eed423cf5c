"""Rules as data."""

import json

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
    rule_from_json,
    rule_to_json,
)


ACTIONS = [
    FilterRule("price < 20"),
    BoostRule('brand = "Acme"', 0.5),
    BiasRule(BiasTarget.MARGIN, -0.25),
    FatigueRule(),
    DiversityRule(DiversityMethod.DPP, level=0.7),
    CapRule("brand", 2, window=5),
    QuotaRule('tags:"new"', 0.2),
    PinRule(1, item_id="mug"),
    PinRule(2, filter="price < 5"),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.kind)
def test_a_rule_survives_the_way_into_json_and_back(action: Action) -> None:
    rule = Rule("spring", action, disabled=True, start_time=5, end_time=9)

    assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        (Rule("always", FatigueRule()), [0, 4, 5, 8, 9]),
        (Rule("spring", FatigueRule(), start_time=5, end_time=9), [5, 8]),
        (Rule("off", FatigueRule(), disabled=True), []),
    ],
)
def test_a_rule_applies_from_its_start_until_before_its_end(rule: Rule, times: list[int]) -> None:
    assert [time for time in (0, 4, 5, 8, 9) if rule.applies(time)] == times

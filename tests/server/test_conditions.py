"""The conditions of an answer, and who is told what each took away."""

from endcap.catalog.configuration.placements import Placement
from endcap.catalog.configuration.rules import FilterRule, Rule
from endcap.sdk import Task
from endcap.sdk.filters import parse_filter
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.recommending.conditions import Conditions
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.reranking import compile_rules
from endcap.server.serving.ladders import Ladder
from endcap.server.serving.masks import Masks


VIEW = catalog(
    [
        SampleItem("spoon", price=1.0, brand="Acme"),
        SampleItem("mug", price=5.0, brand="Acme"),
        SampleItem("pot", price=5.0, brand="Other"),
        SampleItem("kettle", price=20.0, brand="Other"),
        SampleItem("oven", price=90.0, brand="Other"),
    ]
)
RULES = compile_rules([Rule("no spoons", FilterRule("price > 2"))])


def conditions(*, placement: str = "", request: str = "") -> Conditions:
    asked = RecommendationRequest("r1", "home", time=0, filter=parse_filter(request) if request else None)
    ladder = Ladder(
        Placement("home", Task.FOR_YOU, ()), (), filter=parse_filter(placement) if placement else None
    )
    return Conditions.of(asked, ladder, RULES)


def test_each_condition_counts_what_those_before_it_left_and_rules_come_last() -> None:
    found = conditions(placement="price < 50", request='brand = "Acme"')

    eligible = Masks(VIEW).eligible(found.filters)

    assert found.removed(eligible) == {"placement": 1, "request": 2}
    assert [(each.name, each.counts) for each in found.outcomes(eligible)] == [("no spoons", {"filtered": 1})]
    assert [VIEW.vocabulary.ids[row] for row in eligible.mask.nonzero()[0]] == ["mug"]


def test_a_condition_that_nobody_asks_for_is_not_counted() -> None:
    found = conditions(request="price < 50")

    eligible = Masks(VIEW).eligible(found.filters)

    assert found.removed(eligible) == {"request": 1}

"""Rules that lift and bury. Ten items by score 10 to 1: a spread of 9."""

from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np
import pytest

from endcap.catalog.configuration.rules import BiasRule, BiasTarget, BoostRule, FatigueRule, Rule
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.reranking import RerankContext, compile_rules


PageOf = Callable[..., Any]

TEN = [SampleItem(letter, brand="Acme" if letter in "ej" else "") for letter in "abcdefghij"]
ACME = 'brand = "Acme"'


@pytest.mark.parametrize(
    ("strength", "order"),
    [
        (0.9, "eajbcdfghi"),  # e: 6 + 8.1, j: 1 + 8.1, between a and b
        (0.5, "eabcdjfghi"),  # e: 6 + 4.5 = 10.5, j: 1 + 4.5 = 5.5
        (0.0, "abcdefghij"),
        (-0.5, "abcdfghiej"),  # e: 6 - 4.5 = 1.5, between i and j
        (-1.0, "abcdfghiej"),
    ],
)
def test_a_boost_lifts_by_its_share_of_the_spread(page_of: PageOf, strength: float, order: str) -> None:
    assert page_of(TEN, BoostRule(ACME, strength)).ids == list(order)


def test_a_buried_item_ends_last(page_of: PageOf) -> None:
    page = page_of(TEN, BoostRule('id = "a"', -1.0), page_size=3)

    assert page.ids == ["b", "c", "d"]
    assert page.counts == {"boost 1": {"lifted": 0, "buried": 1}}


def test_boosts_add_up(page_of: PageOf) -> None:
    page = page_of(TEN, BoostRule('id = "j"', 0.5), BoostRule(ACME, 0.5), BoostRule('id = "a"', -1.0))

    assert page.ids == list("ejbcdfghia")  # e: 6 + 4.5, j: 1 + 9, a: 10 - 9


def test_the_spread_is_that_of_the_scores_whatever_their_size(page_of: PageOf) -> None:
    scores = [-0.001 * place for place in range(10)]

    assert page_of(TEN, BoostRule(ACME, 0.5), scores=scores).ids == list("eabcdjfghi")


def test_any_boost_decides_among_equal_scores(page_of: PageOf) -> None:
    assert page_of(TEN, BoostRule(ACME, 0.01), scores=[7.0] * 10).ids == list("ejabcdfghi")


def test_no_boost_lifts_an_item_over_a_better_rung(page_of: PageOf) -> None:
    rungs, scores = [0] * 7 + [1] * 3, [7, 6, 5, 4, 3, 2, 1, 900, 800, 700]

    page = page_of(TEN, BoostRule('id = "j"', 0.75), tiers=rungs, scores=scores)

    assert page.ids == list("abcdefghji")  # j: 700 + 150


PRICED = [
    SampleItem("a", price=10.0),
    SampleItem("b", price=30.0),
    SampleItem("c", price=20.0),
    SampleItem("d", price=9000.0),
]


@pytest.mark.parametrize(
    ("strength", "order"),
    [
        # Standings: a -1/2, c -1/6, b 1/6, d 1/2. Relevance: a 1, b 2/3, c 1/3, d 0.
        (0.9, "badc"),  # a .550, b .817, c .183, d .450
        (-0.9, "abcd"),  # a 1.45, b .517, c .483, d -.45
    ],
)
def test_a_bias_shifts_by_standing_so_that_a_dear_item_does_not_make_others_alike(
    page_of: PageOf, strength: float, order: str
) -> None:
    assert page_of(PRICED, BiasRule(BiasTarget.PRICE, strength)).ids == list(order)


def test_equal_values_share_one_standing(page_of: PageOf) -> None:
    items = [SampleItem("a", price=10.0), SampleItem("b", price=10.0), SampleItem("c", price=30.0)]

    page = page_of(items, BiasRule(BiasTarget.PRICE, 0.55))

    # Standings: a and b -1/4, c 1/2. a 1 - .14, b .5 - .14, c 0 + .28.
    assert page.ids == ["a", "b", "c"]


def test_an_item_without_a_cost_counts_as_average_in_margin(page_of: PageOf) -> None:
    items = [
        SampleItem("thin", price=10.0, cost=9.0),
        SampleItem("unknown", price=10.0),
        SampleItem("fat", price=10.0, cost=1.0),
    ]

    page = page_of(items, BiasRule(BiasTarget.MARGIN, 1.0), scores=[5.0, 5.0, 5.0])

    assert page.ids == ["fat", "unknown", "thin"]
    assert page.counts == {"bias 1": {"lifted": 1, "buried": 1}}


def test_a_discount_is_a_share_of_the_original_price(page_of: PageOf) -> None:
    items = [
        SampleItem("full", price=10.0),
        SampleItem("tenth", price=900.0, original_price=1000.0),
        SampleItem("half", price=5.0, original_price=10.0),
        SampleItem("free of price", price=nan),
    ]

    page = page_of(items, BiasRule(BiasTarget.DISCOUNT, 1.0), scores=[1.0, 1.0, 1.0, 1.0])

    assert page.ids == ["half", "tenth", "free of price", "full"]


def test_each_exposure_beyond_the_count_buries_an_item_further(page_of: PageOf) -> None:
    shown = {"a": 4, "b": 3, "c": 6}

    page = page_of(TEN, FatigueRule(exposure_count=3, strength=0.5), exposures=shown)

    assert page.ids == list("bdeafghijc")  # a: 10 - 4.5 = 5.5, c: 8 - 13.5
    assert page.counts == {"fatigue 1": {"lifted": 0, "buried": 2}}


def test_fatigue_does_nothing_to_who_was_shown_nothing(page_of: PageOf) -> None:
    page = page_of(TEN, FatigueRule())

    assert page.ids == list("abcdefghij")
    assert page.counts == {"fatigue 1": {"lifted": 0, "buried": 0}}


@pytest.mark.parametrize(
    ("prices", "strength", "preferred"),
    [
        (range(1, 11), 1, [8, 9, 10]),
        (range(1, 11), -1, [1, 2, 3]),
        ([1, 1, 1, 1, 1, 1, 1, 1, 5, 5], 1, [5, 5]),
        ([1, 1, 1, 5, 5, 5], 1, [5, 5, 5]),
        ([nan, 1, 2, 3, 4], 1, [4]),
        ([nan], 1, None),
        (range(1, 11), 0, None),
    ],
)
def test_a_bias_looks_for_about_a_quarter_of_what_may_be_shown(
    prices: Sequence[float], strength: float, preferred: list[float] | None
) -> None:
    view = catalog([SampleItem(f"item-{number}", price=price) for number, price in enumerate(prices)])
    rules = compile_rules([Rule("bias", BiasRule(BiasTarget.PRICE, strength))])

    found = rules.required(RerankContext(view, 10, first_page=True, masks={}), np.ones(len(view), np.bool_))

    assert [view.prices[required.rows].tolist() for required in found] == (
        [] if preferred is None else [preferred]
    )

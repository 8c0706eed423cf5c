"""Caps, which limit how many items share a value, and quotas, which reserve places for items that match."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.configuration.rules import BoostRule, CapRule, PinRule, QuotaRule
from endcap.sdk.testing import SampleItem


PageOf = Callable[..., Any]


def shelf(**brands: str) -> list[SampleItem]:
    return [SampleItem(item_id, brand=brand) for item_id, brand in brands.items()]


AAAB = shelf(a1="A", a2="A", a3="A", b1="B")


def test_a_cap_keeps_the_best_of_each_value_and_may_shorten_a_page(page_of: PageOf) -> None:
    page = page_of(AAAB, CapRule("brand", 2))

    assert page.ids == ["a1", "a2", "b1"]
    assert page.open_ids == []
    assert page.counts == {"cap 1": {"capped": 1}}


def test_a_cap_over_a_stretch_lets_a_value_come_back_after_it(page_of: PageOf) -> None:
    items = shelf(a1="A", a2="A", a3="A", b1="B", b2="B", c1="C")

    assert page_of(items, CapRule("brand", 1, window=2)).ids == ["a1", "b1", "a2", "b2", "a3", "c1"]
    assert page_of(items, CapRule("brand", 1, window=3)).ids == ["a1", "b1", "c1", "a2", "b2"]


def test_every_cap_holds(page_of: PageOf) -> None:
    items = [
        SampleItem("a", brand="A", tags=("sale",)),
        SampleItem("b", brand="B", tags=("sale",)),
        SampleItem("c", brand="A"),
        SampleItem("d", brand="D", tags=("new",)),
    ]

    assert page_of(items, CapRule("brand", 1), CapRule("tags", 1)).ids == ["a", "d"]


@pytest.mark.parametrize("attribute", ["categories", "tags", "attributes.colours", "attributes.size"])
def test_an_item_counts_for_each_of_its_values_and_for_none_without(page_of: PageOf, attribute: str) -> None:
    def item(item_id: str, *values: str) -> SampleItem:
        size = {"size": float(len(values[0]))} if values else {}
        return SampleItem(
            item_id, categories=values, tags=values, attributes={"colours": list(values), **size}
        )

    items = [item("a", "red"), item("b", "red"), item("c"), item("d", "teal"), item("e")]

    page = page_of(items, CapRule(attribute, 1))

    assert page.ids == ["a", "c", "d", "e"]


def test_a_value_that_one_of_two_shares_is_full(page_of: PageOf) -> None:
    items = [
        SampleItem("a", tags=("new", "red")),
        SampleItem("b", tags=("red", "sale")),
        SampleItem("c", tags=("sale",)),
    ]

    assert page_of(items, CapRule("tags", 1)).ids == ["a", "c"]


def test_what_is_open_counts_rows_that_were_not_ranked(page_of: PageOf) -> None:
    items = shelf(a1="A", a2="A", b1="B", b2="B", none="")

    page = page_of(items, CapRule("brand", 1), candidates=["a1", "a2"])

    assert page.ids == ["a1"]
    assert page.open_ids == ["b1", "b2", "none"]


def test_what_is_open_behind_a_stretch_is_what_its_end_lets_in(page_of: PageOf) -> None:
    items = shelf(a1="A", b1="B", a2="A", a3="A", b2="B", c1="C")

    page = page_of(items, CapRule("brand", 1, window=2), candidates=["a1", "b1", "a2", "a3"])

    assert page.ids == ["a1", "b1", "a2"]
    assert page.open_ids == ["b2", "c1"]


def test_an_attribute_that_no_item_has_caps_nothing(page_of: PageOf) -> None:
    assert page_of(AAAB, CapRule("attributes.colour", 1)).ids == ["a1", "a2", "a3", "b1"]


NEW = [SampleItem(letter, tags=("new",) if letter in "hij" else ()) for letter in "abcdefghij"]
NEW_ITEMS = 'tags:"new"'


@pytest.mark.parametrize(
    ("share", "order"),
    [
        (0.5, "abchi"),  # 2 of 5, rounded down
        (0.4, "abchi"),
        (0.39, "abcdh"),
        (0.1, "abcde"),  # none of 5
        (1.0, "abhij"),  # 5 of 5, and 3 are all there are
    ],
)
def test_a_quota_reserves_its_share_as_late_as_it_can(page_of: PageOf, share: float, order: str) -> None:
    assert page_of(NEW, QuotaRule(NEW_ITEMS, share), page_size=5).ids == list(order)


def test_a_quota_that_relevance_meets_changes_nothing(page_of: PageOf) -> None:
    page = page_of(NEW, BoostRule(NEW_ITEMS, 1.0), QuotaRule(NEW_ITEMS, 0.4), page_size=5)

    assert page.ids == list("hiajb")  # relevance of a 10, h 3 + 9, i 2 + 9, j 1 + 9
    assert page.counts["quota 2"] == {"reserved": 2, "placed": 3}


def test_a_share_in_hundredths_is_not_lost_to_its_binary_form(page_of: PageOf) -> None:
    items = [SampleItem(f"{n}", tags=("new",) if n >= 100 else ()) for n in range(200)]

    page = page_of(items, QuotaRule(NEW_ITEMS, 0.29), page_size=100)

    assert sum(int(item) >= 100 for item in page.ids) == 29


def test_a_quota_takes_items_of_a_lower_rung(page_of: PageOf) -> None:
    page = page_of(NEW, QuotaRule(NEW_ITEMS, 0.2), tiers=[0] * 7 + [1] * 3, page_size=5)

    assert page.ids == list("abcdh")


def test_a_pinned_item_counts_for_a_quota(page_of: PageOf) -> None:
    page = page_of(NEW, QuotaRule(NEW_ITEMS, 0.4), PinRule(1, item_id="j"), page_size=5)

    assert page.ids == list("jabch")


def test_of_quotas_that_need_more_than_there_is_the_first_comes_first(page_of: PageOf) -> None:
    quotas = [QuotaRule(NEW_ITEMS, 0.75), QuotaRule('id = "a" OR id = "g"', 0.5)]

    assert page_of(NEW, *quotas, page_size=4).ids == list("hija")
    assert page_of(NEW, *reversed(quotas), page_size=4).ids == list("aghi")


def test_a_quota_never_costs_a_place(page_of: PageOf) -> None:
    both = [SampleItem(item_id, tags=("x", "y"), brand="Acme") for item_id in ("first", "second")]
    items = [SampleItem("a", tags=("x",)), SampleItem("b", tags=("y",)), *both]

    page = page_of(items, CapRule("tags", 1), QuotaRule('brand = "Acme"', 1.0), page_size=2)

    assert page.ids == ["a", "b"]  # either of both would be alone on the page


@given(
    st.lists(st.booleans(), max_size=12),
    st.integers(1, 10),
    st.integers(1, 10).map(lambda tenths: tenths / 10),
)
def test_a_quota_is_met_as_far_as_there_are_items(
    page_of: PageOf, new: list[bool], page_size: int, share: float
) -> None:
    items = [SampleItem(f"{n}", tags=("new",) if is_new else ()) for n, is_new in enumerate(new)]

    page = page_of(items, QuotaRule(NEW_ITEMS, share), page_size=page_size)

    placed = sum(new[int(item)] for item in page.ids)
    assert len(page.ids) == min(page_size, len(items))
    assert placed >= min(int(share * page_size + 1e-9), sum(new))

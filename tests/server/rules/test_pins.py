"""Pins: an item, or the best one that matches, in a fixed position."""

from collections.abc import Callable
from typing import Any

from endcap.catalog.configuration.rules import BoostRule, CapRule, PinRule
from endcap.sdk.testing import SampleItem


PageOf = Callable[..., Any]

SIX = [SampleItem(letter, brand="Acme" if letter in "ce" else letter) for letter in "abcdef"]


def test_a_pinned_item_stands_at_its_position_and_others_move_up(page_of: PageOf) -> None:
    page = page_of(SIX, PinRule(2, item_id="f"), page_size=4)

    assert page.ids == ["a", "f", "b", "c"]
    assert page.reranked.pinned.tolist() == [False, True, False, False]
    assert page.counts == {"pin 1": {"pinned": 1}}


def test_a_slot_takes_the_best_match_after_boosts(page_of: PageOf) -> None:
    slot = PinRule(1, filter='brand = "Acme"')

    assert page_of(SIX, slot).ids == list("cabdef")
    assert page_of(SIX, slot, BoostRule('id = "e"', 0.9)).ids == list("eabcdf")


def test_two_slots_of_one_filter_take_two_items(page_of: PageOf) -> None:
    slots = [PinRule(position, filter='brand = "Acme"') for position in (4, 1)]

    assert page_of(SIX, *slots).ids == list("eabcdf")  # the rule that is listed first chooses first


def test_pins_hold_on_the_first_page_only(page_of: PageOf) -> None:
    page = page_of(SIX, PinRule(1, item_id="f"), first_page=False)

    assert page.ids == list("abcdef")
    assert page.counts == {"pin 1": {"pinned": 0}}


def test_a_pin_beyond_the_page_does_nothing(page_of: PageOf) -> None:
    page = page_of(SIX, PinRule(5, item_id="f"), page_size=4)

    assert page.ids == list("abcd")
    assert page.counts == {"pin 1": {"pinned": 0}}


def test_a_page_that_ends_before_a_pin_has_the_item_at_its_end(page_of: PageOf) -> None:
    page = page_of(SIX, PinRule(9, item_id="a"), PinRule(8, item_id="b"))

    assert page.ids == list("cdefba")
    assert page.reranked.pinned.tolist() == [False] * 4 + [True] * 2
    assert page.counts == {"pin 1": {"pinned": 1}, "pin 2": {"pinned": 1}}


def test_what_is_not_eligible_is_not_pinned_and_the_counts_say_so(page_of: PageOf) -> None:
    actions = [PinRule(1, item_id="f"), PinRule(2, item_id="unheard-of"), PinRule(3, filter="price < 5")]

    page = page_of(SIX, *actions, candidates=list("abcde"))

    assert page.ids == list("abcde")
    assert page.counts == {name: {"pinned": 0} for name in ("pin 1", "pin 2", "pin 3")}


def test_of_two_pins_at_one_position_the_first_holds(page_of: PageOf) -> None:
    page = page_of(SIX, PinRule(1, item_id="f"), PinRule(1, item_id="e"))

    assert page.ids == list("fabcde")
    assert page.counts == {"pin 1": {"pinned": 1}, "pin 2": {"pinned": 0}}


def test_a_pinned_item_stays_and_caps_count_it(page_of: PageOf) -> None:
    page = page_of(SIX, CapRule("brand", 1), PinRule(5, item_id="e"))

    assert page.ids == list("abdfe")  # c is the second Acme; the page ends before position 5


def test_a_named_pin_breaks_a_cap_and_a_slot_does_not(page_of: PageOf) -> None:
    cap, named = CapRule("brand", 1), PinRule(1, item_id="c")

    assert page_of(SIX, cap, named, PinRule(2, item_id="e")).ids == list("ceabdf")
    assert page_of(SIX, cap, named, PinRule(2, filter='brand = "Acme"')).ids == list("cabdf")


def test_items_are_pinned_before_slots_choose(page_of: PageOf) -> None:
    slot, named = PinRule(2, filter='brand = "Acme"'), PinRule(1, item_id="c")

    assert page_of(SIX, slot, named).ids == list("ceabdf")


def test_a_cap_over_a_stretch_counts_a_pin_where_it_moved_up_to(page_of: PageOf) -> None:
    items = [SampleItem("b"), *(SampleItem(f"a{n}", brand="Acme") for n in range(3))]

    page = page_of(items, CapRule("brand", 1, window=2), PinRule(9, item_id="a2"))

    assert page.ids == ["b", "a0", "a2"]
    assert page.open_ids == []


def test_a_cap_over_a_stretch_sees_the_pins_ahead(page_of: PageOf) -> None:
    page = page_of(SIX, CapRule("brand", 1, window=2), PinRule(4, item_id="e"))

    assert page.ids == list("abdefc")  # c fits neither before nor right behind e


def test_of_one_product_only_the_first_pin_holds(page_of: PageOf) -> None:
    items = [SampleItem("a"), SampleItem("red", group_id="mug"), SampleItem("blue", group_id="mug")]

    page = page_of(items, PinRule(3, item_id="blue"), PinRule(1, item_id="red"))

    assert page.ids == ["a", "blue"]

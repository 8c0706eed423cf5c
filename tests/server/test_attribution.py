"""The attribution token, and the record that an answer leaves."""

from types import SimpleNamespace
from typing import NoReturn, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Attribution, Event
from endcap.catalog.events.exposures import NOBODY, unit_digest
from endcap.catalog.fields.limits import LIMITS, MAX_PAGE_SIZE
from endcap.sdk.errors import InvalidInput, Unavailable
from endcap.server.recording.attribution import attribute, attribution_token, read_attribution
from endcap.server.recording.exposures import candidates_digest
from endcap.server.recording.logins import recognize_logins
from endcap.server.serving.state import ServedShop


KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_700_000_000_000
ANN = unit_digest(KEY, "ann", None)
TEN = [f"item-{number}" for number in range(10)]
TEXT = st.text(max_size=128)


def token(*, item_ids: list[str] = TEN, request_id: str = "0" * 32, unit: bytes = ANN) -> str:
    return attribution_token(
        KEY, request_id=request_id, placement="home", time=NOW, unit=unit, item_ids=item_ids
    )


@given(TEXT, TEXT, st.lists(TEXT, max_size=100), st.lists(st.tuples(TEXT, TEXT), max_size=3))
def test_a_token_says_what_it_was_made_of(
    request_id: str, placement: str, item_ids: list[str], arms: list[tuple[str, str]]
) -> None:
    written = attribution_token(
        KEY, request_id=request_id, placement=placement, time=NOW, unit=ANN, item_ids=item_ids, arms=arms
    )

    answer = read_attribution(KEY, written)

    assert (answer.request_id, answer.placement, answer.time) == (request_id, placement, NOW)
    assert (answer.unit, answer.arms) == (ANN, tuple(arms))
    assert all(answer.shows(KEY, item_id) for item_id in item_ids)


@pytest.mark.parametrize(("count", "length"), [(0, 99), (10, 139), (100, 499)])
def test_a_token_is_short(count: int, length: int) -> None:
    assert len(token(item_ids=[f"item-{number}" for number in range(count)])) == length


def test_the_longest_token_is_one_that_an_event_may_carry() -> None:
    longest = attribution_token(
        KEY,
        request_id="\U0001f600" * LIMITS["request_id"],
        placement="\U0001f600" * LIMITS["placement"],
        time=NOW,
        unit=ANN,
        item_ids=["mug"] * MAX_PAGE_SIZE,
    )

    assert len(longest) == 1_816 < LIMITS["attribution_token"]


def test_a_token_holds_no_id_of_a_user_or_an_item() -> None:
    read = read_attribution(KEY, token())

    assert b"item-1" not in read.items
    assert read.unit != unit_digest(OTHER_KEY, "ann", None)


def test_ten_thousand_other_items_are_foreign_to_an_answer() -> None:
    answer = read_attribution(KEY, token())

    assert not any(answer.shows(KEY, f"other-{number}") for number in range(10_000))


def test_a_token_of_another_shop_or_an_altered_one_is_rejected() -> None:
    written = token()

    for altered in (written[:-1] + ("A" if written[-1] != "A" else "B"), "", "AAAA", written + "A"):
        with pytest.raises(InvalidInput, match="not made by this shop"):
            read_attribution(KEY, altered)
    with pytest.raises(InvalidInput, match="not made by this shop"):
        read_attribution(OTHER_KEY, written)


def test_users_and_visitors_of_one_id_are_two_units_and_nobody_is_a_third() -> None:
    units = [unit_digest(KEY, "ann", None), unit_digest(KEY, None, "ann"), unit_digest(KEY, None, None)]

    assert len(set(units)) == 3
    assert units[2] == unit_digest(KEY, "", "") == NOBODY
    assert unit_digest(KEY, "ann", "phone") == units[0]


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"user_id": "ann"}, Attribution.VALID),
        ({"user_id": "ann", "visitor_id": "phone"}, Attribution.VALID),
        ({"user_id": "ben"}, Attribution.FOREIGN_UNIT),
        ({"visitor_id": "ann"}, Attribution.FOREIGN_UNIT),
        ({"user_id": "ann", "item_id": "tea"}, Attribution.FOREIGN_ITEM),
    ],
    ids=str,
)
def test_an_event_is_marked_by_its_unit_and_then_its_item(fields: dict[str, str], mark: Attribution) -> None:
    values = {"item_id": "item-3", **fields}
    event = Event("1", "view", time=NOW, attribution_token=token(), **values)  # type: ignore[arg-type]

    assert attribute(event, KEY).attribution is mark


async def test_an_event_whose_links_cannot_be_looked_up_is_left_unchecked() -> None:
    class Away:
        def read(self) -> NoReturn:
            raise Unavailable("the database does not answer")

    shop = cast("ServedShop", SimpleNamespace(id="default", token_key=KEY))
    of_ben = attribute(Event("1", "view", "item-3", NOW, user_id="ben", attribution_token=token()), KEY)
    of_ann = attribute(Event("2", "view", "item-3", NOW, user_id="ann", attribution_token=token()), KEY)

    marked = await recognize_logins({0: of_ben, 2: of_ann}, shop, cast("Database", Away()))

    assert {place: event.attribution for place, event in marked.items()} == {
        0: Attribution.UNCHECKED,
        2: Attribution.VALID,
    }


def test_a_set_of_candidates_has_one_hash_in_any_order_and_another_set_another() -> None:
    rows = np.array([3, 1, 2_000_000], np.int32)

    assert candidates_digest(rows) == candidates_digest(rows[::-1].astype(np.int64))
    assert candidates_digest(rows) != candidates_digest(rows[:2])
    assert len(candidates_digest(rows)) == len(candidates_digest(rows[:0])) == 8

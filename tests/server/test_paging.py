"""Pages of a list, and the tokens between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk.errors import InvalidInput
from endcap.server.api.paging import ListPage, page_token, read_page_size, read_page_token, request_digest
from endcap.v1.placement_service_pb2 import ListPlacementChangesRequest, ListPlacementsRequest
from endcap.v1.recommendation_service_pb2 import RecommendRequest


NOW = 1_700_000_000_000
DAY = 86_400_000
KEY = b"k" * 32
OTHER_KEY = b"o" * 32
PAGING = ("page_size", "page_token", "request_id")
CURSOR = {"after": "mug", "shown": [3, 1, 2]}
DIGEST = request_digest(ListPlacementsRequest(), PAGING)
TOKEN = page_token(KEY, DIGEST, CURSOR, NOW)


@pytest.mark.parametrize(("asked", "expected"), [(0, 10), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_a_page_has_ten_entries_unless_told_otherwise_and_never_more_than_a_hundred(
    asked: int, expected: int
) -> None:
    assert read_page_size(asked) == expected


def test_a_negative_page_size_is_rejected() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_page_size(-1)

    assert refused.value.field == "page_size"


def test_a_token_gives_back_where_the_next_page_starts() -> None:
    assert read_page_token(KEY, DIGEST, TOKEN, NOW) == CURSOR


def test_a_token_is_good_for_a_day_to_the_millisecond() -> None:
    assert read_page_token(KEY, DIGEST, TOKEN, NOW + DAY) == CURSOR
    with pytest.raises(InvalidInput, match="older than 24 hours"):
        read_page_token(KEY, DIGEST, TOKEN, NOW + DAY + 1)


def test_a_token_of_another_shop_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="not made by this shop"):
        read_page_token(OTHER_KEY, DIGEST, TOKEN, NOW)


def test_a_token_with_another_request_is_rejected() -> None:
    other = request_digest(ListPlacementChangesRequest(placement="home"), PAGING)

    with pytest.raises(InvalidInput, match="another request"):
        read_page_token(KEY, other, TOKEN, NOW)


def test_a_token_that_is_too_long_is_rejected_unread() -> None:
    with pytest.raises(InvalidInput, match="8193 characters"):
        read_page_token(KEY, DIGEST, "A" * 8193, NOW)


@given(place=st.integers(0, len(TOKEN)), text=st.text(min_size=1, max_size=3))
def test_a_token_with_anything_put_in_is_rejected(place: int, text: str) -> None:
    with pytest.raises(InvalidInput):
        read_page_token(KEY, DIGEST, TOKEN[:place] + text + TOKEN[place:], NOW)


@given(place=st.integers(0, len(TOKEN) - 1), letter=st.characters())
def test_a_token_with_a_letter_changed_is_rejected(place: int, letter: str) -> None:
    altered = TOKEN[:place] + letter + TOKEN[place + 1 :]

    if altered != TOKEN:
        with pytest.raises(InvalidInput):
            read_page_token(KEY, DIGEST, altered, NOW)


def test_requests_of_one_list_differ_in_nothing_but_their_paging() -> None:
    first = RecommendRequest(placement="home", page_size=5, request_id="a", context={"a": "1", "b": "2"})
    second = RecommendRequest(placement="home", page_token=TOKEN, context={"b": "2", "a": "1"})
    another = RecommendRequest(placement="home", exclude_item_ids=["mug"], context={"a": "1", "b": "2"})

    digests = [request_digest(each, PAGING) for each in (first, second, another)]

    assert digests[0] == digests[1] != digests[2]
    assert first.page_size == 5


def test_equal_fields_of_two_methods_are_two_lists() -> None:
    assert request_digest(ListPlacementsRequest(), PAGING) != request_digest(
        ListPlacementChangesRequest(), PAGING
    )


@pytest.mark.parametrize(("count", "pages"), [(0, [[]]), (4, [[0, 1, 2, 3]]), (5, [[0, 1, 2, 3], [4]])])
def test_a_list_is_cut_into_pages_and_the_last_one_says_so(count: int, pages: list[list[int]]) -> None:
    request = ListPlacementsRequest(page_size=4)
    found = []

    while True:
        page = ListPage.read(request, key=KEY, now=NOW)
        start = page.cursor.get("from", 0)
        entries, token = page.cut(
            range(count)[start : start + page.size + 1], lambda last: {"from": last + 1}
        )
        found.append(list(entries))
        if not token:
            break
        request = ListPlacementsRequest(page_size=4, page_token=token, request_id="another")

    assert found == pages


def test_the_next_page_may_have_another_size() -> None:
    first = ListPage.read(ListPlacementsRequest(page_size=1), key=KEY, now=NOW)
    _, token = first.cut([1, 2], lambda last: {"after": last})

    second = ListPage.read(ListPlacementsRequest(page_size=50, page_token=token), key=KEY, now=NOW)

    assert (second.size, second.cursor) == (50, {"after": 1})

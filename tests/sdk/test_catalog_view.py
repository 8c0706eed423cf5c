"""The view: labels, users counted by age, and nothing that can be written to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import NO_ROWS, EventColumns, ItemColumns, Labels, build_view
from endcap.sdk.features import AGE_BUCKETS, AGE_EDGES, DAY, WEEKS, age_bucket
from endcap.sdk.testing import NOW, SampleEvent, SampleItem, catalog


def test_labels_are_sorted_sets_of_each_row() -> None:
    labels = Labels.of([["kitchen", "blue", "kitchen"], [], ["garden", "blue"]])

    assert labels.names == ("blue", "garden", "kitchen")
    assert [labels.of_row(row) for row in range(3)] == [("blue", "kitchen"), (), ("blue", "garden")]


def test_labels_find_the_rows_that_share_one() -> None:
    labels = Labels.of([["kitchen", "blue"], [], ["garden", "blue"], ["garden"]])

    assert labels.sharing(["blue"]).tolist() == [True, False, True, False]
    assert labels.sharing(["kitchen", "garden", "unheard-of"]).tolist() == [True, False, True, True]
    assert labels.sharing(["unheard-of"]).tolist() == [False] * 4
    assert labels.sharing([]).tolist() == [False] * 4


@given(st.lists(st.sets(st.sampled_from(["a", "b", "c", "d"]))), st.sets(st.sampled_from(["a", "b", "z"])))
def test_labels_agree_with_sets(rows: list[set[str]], wanted: set[str]) -> None:
    labels = Labels.of(rows)

    assert [set(labels.of_row(row)) for row in range(len(rows))] == rows
    assert labels.sharing(wanted).tolist() == [bool(row & wanted) for row in rows]


def test_each_user_counts_once_an_item_at_the_last_time() -> None:
    """Ann buys the mug half a year ago and again two days ago, Ben today; only Ann buys the lamp."""
    view = catalog(
        ["mug", "lamp"],
        [
            SampleEvent("ann", "mug", days_ago=180),
            SampleEvent("ann", "mug", days_ago=2),
            SampleEvent("ben", "mug", days_ago=0),
            SampleEvent("ann", "lamp", days_ago=400),
            SampleEvent("ann", "lamp", "view", days_ago=5),
        ],
    )

    purchases, views = view.users_by_age["purchase"], view.users_by_age["view"]

    assert purchases.shape == (AGE_BUCKETS, 2)
    assert {(bucket, row): purchases[bucket, row] for bucket, row in np.argwhere(purchases).tolist()} == {
        (0, 0): 1,
        (1, 0): 1,
        (9, 1): 1,
    }
    assert np.argwhere(views).tolist() == [[2, 1]]


def test_events_after_the_moment_are_left_out() -> None:
    view = catalog(["mug"], [SampleEvent("ann", "mug", days_ago=1), SampleEvent("ann", "mug", days_ago=-1)])

    assert view.users_by_age["purchase"][:, 0].tolist() == [0, 1, *[0] * (AGE_BUCKETS - 2)]


def test_a_sum_over_young_buckets_is_the_number_of_users_of_that_period() -> None:
    events = [
        SampleEvent(f"user {user}", "mug", days_ago=day) for user in range(5) for day in range(user, 60, 7)
    ]

    counts = catalog(["mug"], events).users_by_age["purchase"][:, 0]

    for edge, days in enumerate(AGE_EDGES[:6]):
        users = {event.user for event in events if event.days_ago < days}
        assert counts[: edge + 1].sum() == len(users)


def test_event_types_count_by_their_weight() -> None:
    view = catalog(
        ["mug"],
        [
            SampleEvent("ann", "mug", "view", days_ago=0),
            SampleEvent("ben", "mug", "view", days_ago=0),
            SampleEvent("ann", "mug", "purchase", days_ago=0),
            SampleEvent("ann", "mug", "unheard-of", days_ago=0),
        ],
    )

    assert view.weighted_users_by_age()[0, 0] == 1 + 1 + 5


@pytest.mark.parametrize(
    ("days", "bucket"), [(0, 0), (0.99, 0), (1, 1), (3, 2), (6.9, 2), (7, 3), (364.9, 8), (365, 9), (9999, 9)]
)
def test_an_age_lies_in_the_bucket_between_its_edges(days: float, bucket: int) -> None:
    assert age_bucket(np.array([NOW - int(days * DAY)]), NOW).tolist() == [bucket]


def test_a_view_cannot_be_written_to() -> None:
    view = catalog([SampleItem("mug", categories=("kitchen",))], [SampleEvent("ann", "mug")])

    for array in (
        view.prices,
        view.available,
        view.created,
        view.categories.codes,
        view.categories.offsets,
        view.users_by_age["purchase"],
    ):
        assert not array.flags.writeable
    with pytest.raises(TypeError):
        view.users_by_age["purchase"] = np.zeros((AGE_BUCKETS, 1), np.int32)  # type: ignore[index]


def test_an_empty_catalog_is_a_view_too() -> None:
    view = catalog([])

    assert len(view) == 0
    assert view.weighted_users_by_age().shape == (AGE_BUCKETS, 0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 2), st.sampled_from(["view", "purchase"]), st.integers(0, 500)
        ),
        max_size=40,
    )
)
def test_counts_agree_with_a_dictionary(events: list[tuple[int, int, str, int]]) -> None:
    last: dict[tuple[str, int, int], int] = {}
    for user, row, event_type, days in events:
        key = (event_type, user, row)
        last[key] = min(days, last.get(key, days))

    view = build_view(
        ItemColumns("abc", "abc", [()] * 3, np.ones(3), np.ones(3, np.bool_), np.zeros(3, np.int64)),
        EventColumns(
            users=np.array([event[0] for event in events], np.int64),
            rows=np.array([event[1] for event in events], np.int32),
            types=np.array([event[2] for event in events], np.str_),
            times=np.array([NOW - event[3] * DAY for event in events], np.int64),
        ),
        version="test",
        as_of=NOW,
    )

    weekly = {
        (event_type, user, row, days // 7) for user, row, event_type, days in events if days < 7 * WEEKS
    }
    for event_type, by_week in view.users_by_week.items():
        for week in range(WEEKS):
            users = [row for kind, _, row, own in weekly if (kind, own) == (event_type, week)]
            assert by_week[week].tolist() == [users.count(row) for row in range(3)]
    expected = {
        event_type: np.zeros((AGE_BUCKETS, 3), np.int32) for event_type in {event[2] for event in events}
    }
    for (event_type, _, row), days in last.items():
        expected[event_type][sum(days >= edge for edge in AGE_EDGES), row] += 1
    assert view.users_by_age.keys() == expected.keys()
    for event_type, counts in expected.items():
        np.testing.assert_array_equal(view.users_by_age[event_type], counts)


def test_variants_of_one_product_share_a_group_and_others_stand_alone() -> None:
    view = catalog([SampleItem("red", group_id="mug"), "tea", SampleItem("blue", group_id="mug"), "pot"])

    assert view.has_groups
    assert view.groups.tolist() == [0, 1, 0, 3]
    assert view.with_variants(np.array([2, 3], np.int32)).tolist() == [0, 2, 3]


def test_without_variants_every_row_is_a_group_of_its_own() -> None:
    view = catalog(["tea", "pot"])

    assert not view.has_groups
    assert view.with_variants(np.array([1, 1], np.int32)).tolist() == [1]


def test_attributes_become_numbers_or_labels_by_what_they_hold() -> None:
    view = catalog(
        [
            SampleItem("lamp", attributes={"watts": 40, "colours": ["red", "blue"], "led": True}),
            SampleItem("mug", attributes={"watts": "none", "led": False}),
        ]
    )

    watts, colours, led = (view.attributes[name] for name in ("watts", "colours", "led"))
    assert isinstance(watts, np.ndarray)
    assert isinstance(colours, Labels)
    assert isinstance(led, Labels)
    assert watts.tolist()[0] == 40
    assert np.isnan(watts[1])
    assert [colours.of_row(row) for row in range(2)] == [("blue", "red"), ()]
    assert [led.of_row(row) for row in range(2)] == [("true",), ("false",)]


def test_a_column_that_is_left_out_is_blank() -> None:
    columns = ItemColumns("ab", "ab", [()] * 2, np.ones(2), np.ones(2, np.bool_), np.zeros(2, np.int64))

    no_events = EventColumns(np.empty(0, np.int64), NO_ROWS, np.empty(0, np.str_), np.empty(0, np.int64))

    view = build_view(columns, no_events, version="1", as_of=0)

    assert view.descriptions == ("", "")
    assert view.brands.of_row(0) == view.tags.of_row(0) == ()
    assert np.isnan(view.costs).all()
    assert not view.attributes


def test_the_usual_price_is_the_original_one_or_what_was_paid() -> None:
    columns = ItemColumns(
        "abc",
        "abc",
        [()] * 3,
        np.ones(3),
        np.ones(3, np.bool_),
        np.zeros(3, np.int64),
        original_prices=np.array([4, np.nan, np.nan]),
        paid_prices=np.array([3, 2, np.nan]),
    )
    no_events = EventColumns(np.empty(0, np.int64), NO_ROWS, np.empty(0, np.str_), np.empty(0, np.int64))

    view = build_view(columns, no_events, version="1", as_of=0)

    np.testing.assert_array_equal(view.usual_prices, [4, 2, np.nan])

"""Counts that are brought up to date with what came in are those of all events counted anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.events.events import Event
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.user_counts import UserCounts, count_log, is_due, sort_events
from endcap.sdk.features import DAY
from endcap.sdk.vocabulary import Vocabulary


VOCABULARY = Vocabulary(["mug", "kettle", "spoon"])
NOW = 100 * DAY

EVENTS = st.tuples(
    st.sampled_from([None, "ann", "bob"]),
    st.sampled_from(["phone", "tablet"]),
    st.sampled_from(["mug", "kettle", "not there"]),
    st.sampled_from(["view", "purchase"]),
    st.integers(NOW - 40 * DAY, NOW),
    st.just(1.0),
)


def plain(counts: UserCounts) -> dict[str, list[list[int]]]:
    """Return what is counted, without types of which nothing is left."""
    return {name: each.tolist() for name, each in counts.counts.items() if each.any()}


@given(st.lists(st.tuples(st.lists(EVENTS, max_size=4), st.booleans()), max_size=6))
def test_counts_after_any_events_links_and_sorting_are_those_counted_anew(
    steps: list[tuple[list[tuple[str | None, str, str, str, int, float]], bool]],
) -> None:
    histories, fresh = Histories(VOCABULARY), Histories(VOCABULARY)
    for each in (histories, fresh):
        each.extend([("zoe", None, "spoon", "view", NOW, 1)])  # from which ages count back
    counts = count_log(None, histories.log())
    for events, is_sorted in steps:
        histories.extend(events)
        fresh.extend(events)
        if is_sorted:
            histories.adopt(sort_events(histories.log()))
        counts = count_log(counts, histories.log())

        assert plain(counts) == plain(count_log(None, fresh.log()))


@given(st.lists(EVENTS, max_size=6), st.lists(EVENTS, max_size=3), st.lists(st.integers(0, 5), max_size=3))
def test_counts_without_events_that_were_taken_back_are_those_counted_anew(
    early: list[tuple[str | None, str, str, str, int, float]],
    late: list[tuple[str | None, str, str, str, int, float]],
    reversed_places: list[int],
) -> None:
    histories, fresh = Histories(VOCABULARY), Histories(VOCABULARY)
    for each in (histories, fresh):
        each.extend([("zoe", None, "spoon", "view", NOW, 1)])  # from which ages count back
    gone = {place for place in reversed_places if place < len(early + late)}
    histories.extend(early)
    histories.adopt(sort_events(histories.log()))
    counts = count_log(None, histories.log())
    histories.extend(late)
    fresh.extend(
        (user, visitor, "" if place in gone else item, kind, time, value)
        for place, (user, visitor, item, kind, time, value) in enumerate(early + late)
    )
    taken_back = [(early + late)[place] for place in gone]

    histories.apply(
        [
            Event("", kind, item, time, user_id=user, visitor_id=visitor, reversed_revision=1)
            for user, visitor, item, kind, time, _ in taken_back
        ],
        1,
    )

    assert plain(count_log(counts, histories.log())) == plain(count_log(None, fresh.log()))
    histories.adopt(sort_events(histories.log()))
    assert plain(count_log(None, histories.log())) == plain(count_log(None, fresh.log()))


def test_somebody_who_is_forgotten_is_not_counted() -> None:
    histories = Histories(VOCABULARY)
    histories.extend([("ann", None, "mug", "view", NOW, 1), ("bob", None, "mug", "view", NOW, 1)])
    histories.adopt(sort_events(histories.log()))
    counts = count_log(None, histories.log())

    histories.forget(["ann"], [])

    assert counts.users_by_age["view"].sum() == 2
    assert count_log(counts, histories.log()).users_by_age["view"].sum() == 1


def test_ages_move_on_with_the_newest_event_in_steps_of_five_minutes() -> None:
    histories = Histories(VOCABULARY)
    histories.extend([("ann", None, "mug", "view", NOW, 1)])
    counts = count_log(None, histories.log())
    histories.extend([("bob", None, "mug", "view", NOW + 300_000, 1)])
    due = is_due(counts, histories.log())
    same_step = count_log(counts, histories.log())

    assert (counts.as_of, same_step.as_of, due) == (NOW, NOW + 300_000, True)
    np.testing.assert_array_equal(same_step.users_by_age["view"][0], [2, 0, 0])

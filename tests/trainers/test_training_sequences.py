from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import Rows
from endcap.sdk.sequences import SequenceEncoding
from endcap.trainers.interactions import WeighedEvents
from endcap.trainers.training_sequences import (
    by_length,
    hold_out,
    inputs_and_targets,
    user_sequences,
    windows,
)


def rows(*numbers: int) -> Rows:
    return np.array(numbers, np.int32)


def events(*chosen: tuple[int, int, int]) -> WeighedEvents:
    """Make events of (user, item, time)."""
    users, items, times = np.array(sorted(chosen, key=lambda event: event[2])).T
    return WeighedEvents(users, items.astype(np.int32), times, np.ones(len(users), np.float32))


def lists(sequences: Sequence[Rows]) -> list[list[int]]:
    return [sequence.tolist() for sequence in sequences]


def test_a_sequence_is_what_one_user_chose_in_order_of_time() -> None:
    sequences = user_sequences(events((1, 5, 30), (0, 7, 20), (1, 6, 10), (1, 5, 40)))

    assert lists(sequences) == [[7], [6, 5, 5]]


def test_the_numbers_of_users_change_no_sequence() -> None:
    here = user_sequences(events((0, 5, 1), (0, 6, 2), (1, 3, 1), (1, 4, 2)))
    there = user_sequences(events((1, 5, 1), (1, 6, 2), (0, 3, 1), (0, 4, 2)))

    assert lists(here) == lists(there)


def test_windows_are_cut_from_the_end_and_share_one_item() -> None:
    assert lists(windows([rows(0, 1, 2, 3, 4, 5)], 2)) == [[3, 4, 5], [1, 2, 3], [0, 1]]


def test_one_item_alone_predicts_nothing() -> None:
    assert windows([rows(4)], 2) == []


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(1, 12))
def test_each_item_but_the_first_is_predicted_once(items: list[int], length: int) -> None:
    predicted = [item for window in reversed(windows([rows(*items)], length)) for item in window[1:].tolist()]

    assert predicted == items[1:]


def test_every_position_reads_one_item_and_predicts_the_next() -> None:
    inputs, targets = inputs_and_targets([rows(1, 2, 3), rows(4, 0)], 9, SequenceEncoding(5))

    assert inputs.tolist() == [[1, 2], [9, 4]]
    assert targets.tolist() == [[2, 3], [9, 0]]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 50))
def test_batches_hold_every_sequence_once_and_no_more_tokens_than_allowed(
    lengths: list[int], tokens: int
) -> None:
    sequences = [np.full(length, place, np.int32) for place, length in enumerate(lengths)]

    batches = list(by_length(sequences, tokens, np.random.default_rng(0)))

    assert sorted(int(sequence[0]) for batch in batches for sequence in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= tokens


def test_a_tenth_of_the_users_is_held_out_with_what_they_chose_last() -> None:
    sequences = [rows(place, place + 1, place + 2) for place in range(20)]

    kept, held_out = hold_out(sequences, np.random.default_rng(0))

    assert len(held_out.targets) == 2
    for history, target in zip(held_out.histories, held_out.targets.tolist(), strict=True):
        assert history.tolist() == [target - 2, target - 1]
        assert history.tolist() in lists(kept)
    assert sum(map(len, kept)) == 60 - 2


def test_a_user_who_came_back_to_a_known_item_is_not_held_out() -> None:
    _, held_out = hold_out([rows(1, 2, 1)] * 20, np.random.default_rng(0))

    assert held_out.histories == []

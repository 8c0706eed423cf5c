"""Lists of different lengths."""

import numpy as np

from endcap.evaluation.ragged import Ragged


LISTS = Ragged.of([[4, 5], [], [6], [7, 8, 9]])


def as_lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[index].tolist() for index in range(len(ragged))]


def test_lists_come_back_as_given() -> None:
    assert as_lists(LISTS) == [[4, 5], [], [6], [7, 8, 9]]
    assert LISTS.lengths.tolist() == [2, 0, 1, 3]
    assert LISTS.owners.tolist() == [0, 0, 2, 3, 3, 3]


def test_lists_are_taken_in_the_order_asked_for() -> None:
    assert as_lists(LISTS.take(np.array([3, 1, 0, 0]))) == [[7, 8, 9], [], [4, 5], [4, 5]]


def test_kept_positions_stay_with_their_lists() -> None:
    mask = np.array([False, True, True, True, False, True])

    assert as_lists(LISTS.keep(mask)) == [[5], [], [6], [7, 9]]


def test_no_lists_at_all() -> None:
    assert len(Ragged.of([])) == 0

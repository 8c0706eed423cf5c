"""Coverage, Gini coefficient, novelty and diversity, worked by hand."""

import numpy as np
import pytest

from endcap.evaluation.beyond_accuracy import (
    ItemUsers,
    catalog_coverage,
    gini,
    intra_list_diversity,
    novelty,
    recommendation_counts,
)
from endcap.sdk import EventColumns, Rows


def item_users(pairs: list[tuple[int, int]], item_count: int) -> ItemUsers:
    users, rows = np.array(pairs).T
    events = EventColumns(
        users=users.astype(np.int64),
        rows=rows.astype(np.int32),
        types=np.full(len(users), "purchase"),
        times=np.arange(len(users)),
    )
    return ItemUsers(events, item_count)


def lists(*rows: list[int]) -> Rows:
    return np.array(rows, np.int32)


def test_coverage_is_the_share_of_items_shown_to_anybody() -> None:
    counts = recommendation_counts(lists([0, 1], [1, -1]), 4)

    assert counts.tolist() == [1, 2, 0, 0]
    assert catalog_coverage(counts) == 1 / 2


@pytest.mark.parametrize(
    ("counts", "expected"), [([3, 3, 3], 0), ([0, 0, 0, 8], 3 / 4), ([1, 3], 1 / 4), ([0, 0], 0)]
)
def test_gini_is_zero_when_even_and_near_one_when_one_item_takes_all(
    counts: list[int], expected: float
) -> None:
    assert gini(np.array(counts)) == pytest.approx(expected)


def test_an_audience_counts_each_user_once() -> None:
    known = item_users([(5, 0), (5, 0), (9, 0), (9, 1)], item_count=3)

    assert known.user_count == 2
    assert known.sizes.tolist() == [2, 1, 0]
    assert known.of(0).tolist() == [0, 1]
    assert known.of(1).tolist() == [1]


def test_novelty_is_the_mean_of_the_bits_that_each_item_carries() -> None:
    # Four users: all know item 0 (0 bits), one knows item 1 (2 bits), nobody item 2 (as one would, 2 bits).
    known = item_users([(0, 0), (1, 0), (2, 0), (3, 0), (3, 1)], item_count=3)

    assert novelty(lists([0, 1], [2, -1]), known) == pytest.approx(4 / 3)


def test_items_of_the_same_users_are_not_diverse() -> None:
    known = item_users([(0, 0), (0, 1), (1, 0), (1, 1)], item_count=2)

    assert intra_list_diversity(lists([0, 1]), known) == pytest.approx(0)


def test_diversity_is_one_less_the_mean_cosine_of_the_pairs() -> None:
    # Users of item 0: a, b; of item 1: b; of item 2: c. The cosines are 1/√2, 0 and 0.
    known = item_users([(0, 0), (1, 0), (1, 1), (2, 2)], item_count=4)

    assert intra_list_diversity(lists([0, 1, 2]), known) == pytest.approx(1 - 1 / np.sqrt(2) / 3)
    assert intra_list_diversity(lists([0, 3]), known) == pytest.approx(1)


def test_lists_of_one_item_have_no_diversity() -> None:
    known = item_users([(0, 0)], item_count=2)

    assert intra_list_diversity(lists([0, -1]), known) == 0

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from endcap.sdk.errors import InvalidInput
from endcap.trainers.interactions import Interactions, WeighedEvents
from endcap.trainers.linear_sequence import (
    LargestWeights,
    LinearSequenceNetwork,
    LinearSequenceParameters,
    sequence_pairs,
    solve,
    trainer,
)


def events(sequences: Sequence[Sequence[int]]) -> WeighedEvents:
    """Make events of users who chose these items, one after the other."""
    users = np.repeat(np.arange(len(sequences)), [len(items) for items in sequences])
    rows = np.array([item for items in sequences for item in items], np.int32)
    return WeighedEvents(users, rows, np.arange(len(rows)), np.ones(len(rows), np.float32))


def by_definition(
    sequences: Sequence[Sequence[int]], item_count: int, past_decay: float, future_decay: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return SᵀS and SᵀT from the rows of S and T, each written out."""
    past, future = [], []
    for items in sequences:
        for place in range(len(items) - 1):
            row, following = np.zeros(item_count), np.zeros(item_count)
            for age, item in enumerate(reversed(items[: place + 1])):
                row[item] += past_decay**age
            for distance, item in enumerate(items[place + 1 :]):
                following[item] += future_decay**distance
            past.append(row)
            future.append(following)
    s = np.array(past).reshape(-1, item_count)
    return s.T @ s, s.T @ np.array(future).reshape(-1, item_count)


def test_two_items_by_hand() -> None:
    """One user chose 0, 1, 0: S is (1, 0) and (½, 1), T is (.3, 1) and (1, 0)."""
    past, future = sequence_pairs(events([[0, 1, 0]]), 2, 0.5, 0.3)

    np.testing.assert_allclose(past.toarray(), [[1.25, 0.5], [0.5, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(future.toarray(), [[0.3 + 0.5, 1.0], [1.0, 0.0]], rtol=1e-6)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=9), min_size=1, max_size=5))
def test_pairs_at_each_distance_add_up_to_the_products_of_the_rows(sequences: list[list[int]]) -> None:
    past, future = sequence_pairs(events(sequences), 5, 0.5, 0.3)

    expected_past, expected_future = by_definition(sequences, 5, 0.5, 0.3)
    np.testing.assert_allclose(past.toarray(), expected_past, atol=1e-5)
    np.testing.assert_allclose(future.toarray(), expected_future, atol=1e-5)


def solved(exact: NDArray[np.int64], content: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    past, future = sequence_pairs(events([[0, 1, 2], [2, 1, 3], [0, 3]]), 4, 0.5, 0.3)
    weights = np.zeros((4, 4))
    for rows, columns, values in solve(past, future, sparse.csr_array(content), exact, 2.0):
        weights[np.ix_(rows, columns)] = values
    kernel = content @ content.T
    return weights, past.toarray() + kernel, future.toarray() + kernel


CONTENT = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], np.float32)


def test_all_items_together_are_the_ridge_regression_with_the_kernel() -> None:
    weights, left, right = solved(np.arange(4), CONTENT)

    np.testing.assert_allclose(weights, np.linalg.solve(left + 2 * np.eye(4), right), rtol=1e-4)


def test_other_items_are_solved_for_one_by_one() -> None:
    weights, left, right = solved(np.array([1, 3]), CONTENT)

    among = np.ix_([1, 3], [1, 3])
    together = np.linalg.solve(left[among] + 2 * np.eye(2), right[[1, 3]])
    np.testing.assert_allclose(weights[[1, 3]], together, rtol=1e-4)
    for row in (0, 2):
        np.testing.assert_allclose(weights[row], right[row] / (left[row, row] + 2), rtol=1e-4)


def test_the_largest_weights_of_each_row_are_kept() -> None:
    best = LargestWeights(2, 2)

    best.add(np.array([0, 1]), np.array([0, 1]), torch.tensor([[0.2, 0.5], [-1.0, 0.1]]))
    best.add(np.array([0]), np.array([2, 3]), torch.tensor([[0.1, 0.9]]))

    kept = [
        dict(zip(columns, weights, strict=True))
        for columns, weights in zip(best.columns.tolist(), best.weights.tolist(), strict=True)
    ]
    assert kept[0] == pytest.approx({1: 0.5, 3: 0.9})
    assert kept[1][1] == pytest.approx(0.1)
    assert best.weights.min() == 0


def test_the_newest_item_counts_most() -> None:
    """Item 0 is followed by 2, item 1 by 3; the older one of a history counts half."""
    network = LinearSequenceNetwork(
        np.array([[2], [3], [0], [0]], np.int32), np.array([[1.0], [0.8], [0.0], [0.0]], np.float32), 0.5
    )

    scores = network(torch.tensor([[0, 1], [4, 0], [4, 4]]))

    np.testing.assert_allclose(
        scores, [[0.0, 0.0, 0.5, 0.8], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]], rtol=1e-6
    )


def test_users_who_chose_one_item_each_teach_nothing() -> None:
    interactions = Interactions.of_columns(["ann", "bob"], ["a", "b"], ["purchase"] * 2, [1, 2], as_of=2)

    with pytest.raises(InvalidInput, match="nothing follows anything"):
        trainer.train(interactions, LinearSequenceParameters(), lambda _share, _what: None)

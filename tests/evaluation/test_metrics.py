"""Ranking metrics: numbers worked by hand, and every order of tied items as the oracle."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.evaluation.metrics import accuracy, ranks_by_score, ranks_in_lists
from endcap.evaluation.ragged import Ragged


def measure(
    scores: Sequence[Sequence[float]], targets: Sequence[Sequence[int]], cutoffs: Sequence[int]
) -> dict[str, Any]:
    lists = Ragged.of(targets)
    places = ranks_by_score(np.array(scores, np.float32), lists)
    return {name: values.tolist() for name, values in accuracy(places, lists, cutoffs).items()}


def test_one_target_in_second_place() -> None:
    metrics = measure([[0.9, 0.5, 0.1]], [[1]], (1, 2))

    assert metrics == {
        "hit@1": [0],
        "recall@1": [0],
        "precision@1": [0],
        "ndcg@1": [0],
        "mrr@1": [0],
        "hit@2": [1],
        "recall@2": [1],
        "precision@2": [1 / 2],
        "ndcg@2": [pytest.approx(1 / math.log2(3))],
        "mrr@2": [1 / 2],
    }


def test_a_target_that_ties_with_two_others_counts_a_third_at_each_place() -> None:
    metrics = measure([[0.9, 0.5, 0.5, 0.5]], [[2]], (2, 3))

    assert metrics["hit@2"] == [pytest.approx(1 / 3)]
    assert metrics["hit@3"] == [pytest.approx(2 / 3)]
    assert metrics["ndcg@3"] == [pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / 3)]
    assert metrics["mrr@3"] == [pytest.approx((1 / 2 + 1 / 3) / 3)]


def test_two_targets_in_a_group_of_three_for_two_places() -> None:
    # The two places hold both targets in one of three draws, and one of them in the other two.
    metrics = measure([[0.5, 0.5, 0.5]], [[0, 1]], (1, 2))

    assert metrics["hit@1"] == [pytest.approx(2 / 3)]
    assert metrics["hit@2"] == [pytest.approx(1)]
    assert metrics["recall@2"] == [pytest.approx(2 / 3)]
    assert metrics["precision@2"] == [pytest.approx(2 / 3)]
    assert metrics["mrr@2"] == [pytest.approx(2 / 3 + 1 / 3 / 2)]


def test_the_ideal_ranking_has_no_more_targets_than_places() -> None:
    metrics = measure([[0.9, 0.8, 0.7, 0.1]], [[0, 1, 2]], (2, 3))

    assert metrics["ndcg@2"] == [pytest.approx(1)]
    assert metrics["recall@2"] == [pytest.approx(2 / 3)]
    assert metrics["ndcg@3"] == [pytest.approx(1)]


def test_an_item_without_a_score_is_not_ranked() -> None:
    metrics = measure([[np.nan, 0.5], [-np.inf, -np.inf]], [[0], [1]], (2,))

    assert metrics["hit@2"] == [0, 0]
    assert metrics["ndcg@2"] == [0, 0]


def test_items_without_a_score_do_not_push_a_target_down() -> None:
    metrics = measure([[np.nan, 0.5, np.nan]], [[1]], (1,))

    assert metrics["hit@1"] == [1]


def test_cases_may_have_different_numbers_of_targets() -> None:
    metrics = measure([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], [[0, 2], [2]], (1, 2))

    assert metrics["recall@2"] == [1 / 2, 0]
    assert metrics["hit@1"] == [1, 0]


def test_lists_count_by_position() -> None:
    targets = Ragged.of([[7], [3, 9], [5]])
    lists = np.array([[7, 1, 2], [4, 9, 3], [1, -1, -1]], np.int32)

    metrics = accuracy(ranks_in_lists(lists, targets), targets, (2, 3))

    assert metrics["hit@2"].tolist() == [1, 1, 0]
    assert metrics["recall@3"].tolist() == [1, 1, 0]
    assert metrics["mrr@3"].tolist() == [1, 1 / 2, 0]


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=6).flatmap(
        lambda scores: st.tuples(
            st.just(scores), st.sets(st.integers(0, len(scores) - 1), min_size=1), st.integers(1, 7)
        )
    )
)
def test_ties_count_as_the_mean_over_every_order(example: tuple[list[int], set[int], int]) -> None:
    scores, targets, cutoff = example

    metrics = measure([scores], [sorted(targets)], (cutoff,))

    for name, expected in mean_over_orders(scores, targets, cutoff).items():
        assert metrics[f"{name}@{cutoff}"] == [pytest.approx(expected)]


@given(st.permutations(range(8)), st.sets(st.integers(0, 7), min_size=1))
def test_scores_without_ties_and_their_list_are_worth_the_same(order: list[int], targets: set[int]) -> None:
    lists = Ragged.of([sorted(targets)])
    scores = np.empty((1, 8), np.float32)
    scores[0, list(order)] = np.arange(8, 0, -1)

    by_score = accuracy(ranks_by_score(scores, lists), lists, (3, 5))
    by_list = accuracy(ranks_in_lists(np.array([order], np.int32), lists), lists, (3, 5))

    for name, values in by_score.items():
        assert by_list[name] == pytest.approx(values)


def mean_over_orders(scores: Sequence[int], targets: set[int], cutoff: int) -> dict[str, float]:
    """Compute each metric from its definition, for every order that the scores allow."""
    totals = dict.fromkeys(("hit", "recall", "precision", "ndcg", "mrr"), 0.0)
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[left] >= scores[right] for left, right in itertools.pairwise(order))
    ]
    for order in orders:
        ranks = [rank for rank, item in enumerate(order[:cutoff], 1) if item in targets]
        ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(cutoff, len(targets)) + 1))
        totals["hit"] += bool(ranks)
        totals["recall"] += len(ranks) / len(targets)
        totals["precision"] += len(ranks) / cutoff
        totals["ndcg"] += sum(1 / math.log2(1 + rank) for rank in ranks) / ideal
        totals["mrr"] += 1 / ranks[0] if ranks else 0
    return {name: total / len(orders) for name, total in totals.items()}

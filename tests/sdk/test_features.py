"""The transforms that training and serving share."""

from itertools import pairwise

import numpy as np

from endcap.sdk import NO_ROWS, History
from endcap.sdk.features import (
    AGE_BUCKETS,
    AGE_EDGES,
    AGE_MIDPOINTS,
    DAY,
    age_decay,
    last_occurrences,
    last_positions,
    recency_weights,
)


def test_every_bucket_has_a_midpoint_between_its_edges() -> None:
    edges = (0, *AGE_EDGES)

    assert len(AGE_MIDPOINTS) == AGE_BUCKETS
    assert all(AGE_MIDPOINTS[bucket] >= edges[bucket] for bucket in range(AGE_BUCKETS))
    assert AGE_MIDPOINTS[:-1] == tuple((a + b) / 2 for a, b in pairwise(edges))


def test_the_newest_event_weighs_most() -> None:
    assert recency_weights(3, 0.5).tolist() == [0.25, 0.5, 1]
    assert recency_weights(0, 0.5).tolist() == []


def test_an_event_counts_half_after_the_half_life() -> None:
    times = np.array([0, 5, 10, 11], np.int64) * DAY

    assert age_decay(times, 10 * DAY, 5).tolist() == [0.25, 0.5, 1, 1]
    assert age_decay(times, 10 * DAY, 0).tolist() == [1, 1, 1, 1]


def test_a_repeated_row_stands_where_it_was_last() -> None:
    assert last_positions(np.array([1, 2, 1, 3, 2], np.int32)).tolist() == [2, 3, 4]
    assert last_occurrences(np.array([1, 2, 1, 3, 2], np.int32)).tolist() == [1, 3, 2]
    assert last_occurrences(NO_ROWS).tolist() == []


def test_a_history_can_be_read_by_event_type() -> None:
    history = History(
        rows=np.array([5, 6, 5], np.int32),
        types=np.array(["view", "purchase", "view"]),
        times=np.array([1, 2, 3]),
    )

    assert len(history) == 3
    assert history.of_type("view").tolist() == [5, 5]
    assert history.of_type("rating").tolist() == []
    assert History().of_type("view").tolist() == []

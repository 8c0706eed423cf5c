"""``top``: exact, eligible, and the same for equal scores."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import Eligibility, Query, Task, top
from endcap.sdk.testing import catalog


def query_of(
    mask: Sequence[bool],
    *,
    limit: int = 10,
    excluded: Sequence[int] = (),
    candidates: Sequence[int] | None = None,
) -> Query:
    return Query(
        task=Task.FOR_YOU,
        limit=limit,
        time=0,
        eligible=Eligibility(np.array(mask, np.bool_), np.array(excluded, np.int32)),
        candidates=None if candidates is None else np.array(candidates, np.int32),
    )


def rows_of(scores: Sequence[float], query: Query) -> list[int]:
    rows: list[int] = top(np.array(scores, np.float32), query).rows.tolist()
    return rows


ALL = [True] * 5
SCORES = [0.1, 0.5, 0.3, 0.9, 0.2]


def test_the_highest_scores_come_first() -> None:
    ranking = top(np.array(SCORES, np.float32), query_of(ALL, limit=3))

    assert ranking.rows.tolist() == [3, 1, 2]
    assert ranking.scores.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert ranking.rows.dtype == np.int32


def test_excluded_rows_leave_room_for_the_next_best() -> None:
    assert rows_of(SCORES, query_of(ALL, limit=3, excluded=[3, 1])) == [2, 4, 0]


def test_rows_outside_the_mask_are_left_out() -> None:
    assert rows_of(SCORES, query_of([True, True, False, False, True])) == [1, 4, 0]


def test_equal_scores_stand_in_the_order_of_rows() -> None:
    assert rows_of([1, 2, 1, 2, 1], query_of(ALL, limit=4)) == [1, 3, 0, 2]


def test_the_order_of_equal_scores_does_not_depend_on_the_limit() -> None:
    scores = [1.0] * 5

    lists = [rows_of(scores, query_of(ALL, limit=limit, excluded=[1])) for limit in range(5)]

    assert lists == [[], [0], [0, 2], [0, 2, 3], [0, 2, 3, 4]]


def test_rows_without_a_score_are_left_out() -> None:
    assert rows_of([0.1, np.nan, 0.3, np.nan, np.nan], query_of(ALL)) == [2, 0]


def test_only_candidates_are_shown_once_each_and_where_eligible() -> None:
    query = query_of([True, True, True, False, True], candidates=[4, 3, 1, 4, 2], excluded=[1])

    assert rows_of(SCORES, query) == [2, 4]


def test_no_candidates_are_not_all_rows() -> None:
    assert rows_of(SCORES, query_of(ALL, candidates=[])) == []


def test_nothing_gives_nothing() -> None:
    assert rows_of([], query_of([])) == []
    assert rows_of(SCORES, query_of([False] * 5)) == []
    assert rows_of([np.nan] * 5, query_of(ALL)) == []
    assert rows_of(SCORES, query_of(ALL, limit=0)) == []


ITEM = st.tuples(
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, float("nan"), float("-inf")]), st.booleans(), st.booleans()
)


@given(
    items=st.lists(ITEM, max_size=30),
    limit=st.integers(0, 8),
    candidates=st.none() | st.lists(st.integers(0, 29), max_size=12),
)
def test_top_is_what_sorting_everything_gives(
    items: list[tuple[float, bool, bool]], limit: int, candidates: list[int] | None
) -> None:
    scores = [score for score, _, _ in items]
    excluded = [row for row, (_, _, out) in enumerate(items) if out]
    if candidates is not None:
        candidates = [row for row in candidates if row < len(items)]

    rows = rows_of(
        scores,
        query_of([allowed for _, allowed, _ in items], limit=limit, excluded=excluded, candidates=candidates),
    )

    allowed = [
        row
        for row, (score, allowed, out) in enumerate(items)
        if allowed and not out and not np.isnan(score) and (candidates is None or row in candidates)
    ]
    assert rows == sorted(allowed, key=lambda row: (-scores[row], row))[:limit]


def test_eligibility_allows_what_is_in_the_mask_and_not_excluded() -> None:
    eligible = Eligibility(np.array([True, False, True]), np.array([2], np.int32))

    assert eligible.allows(np.array([2, 1, 0, 0], np.int32)).tolist() == [False, False, True, True]
    assert eligible.allows(catalog([]).vocabulary.rows([])).tolist() == []

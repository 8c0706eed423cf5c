"""Medians by hand, and against NumPy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.memory.median import medians
from endcap.sdk import NO_ROWS


def test_each_row_has_the_median_of_its_own_values() -> None:
    """Row 0 has 1, 2 and 5, row 2 has 3 and 4, of which the lower one is the median."""
    rows = np.array([2, 0, 0, 2, 0], np.int32)

    found = medians(rows, np.array([4.0, 5, 1, 3, 2]), np.ones(5, np.int64), 4)

    np.testing.assert_array_equal(found, [2, np.nan, 3, np.nan])


def test_a_value_counts_as_often_as_it_occurs() -> None:
    """Sorted, row 0 has 1, 1, 1, 8, 9."""
    found = medians(np.zeros(3, np.int32), np.array([9.0, 1, 8]), np.array([1, 3, 1]), 1)

    assert found.tolist() == [1]


def test_no_values_have_no_median() -> None:
    np.testing.assert_array_equal(medians(NO_ROWS, np.empty(0), np.empty(0, np.int64), 2), [np.nan] * 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5), st.integers(1, 4))))
def test_it_agrees_with_numpy(triples: list[tuple[int, int, int]]) -> None:
    rows, values, counts = np.array(triples, np.int64).reshape(-1, 3).T

    found = medians(rows.astype(np.int32), values.astype(np.float64), counts, 4)

    for row in range(4):
        own = np.repeat(values[rows == row], counts[rows == row])
        expected = np.quantile(own, 0.5, method="lower") if len(own) else np.nan
        np.testing.assert_array_equal(found[row], expected)

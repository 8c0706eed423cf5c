"""Medians of many groups at once."""

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import Rows


def medians(
    rows: Rows, values: NDArray[np.float64], counts: NDArray[np.int64], row_count: int
) -> NDArray[np.float64]:
    """Return the median of each row's values; of two values in the middle, the lower one.

    Args:
        rows: The row that each value belongs to.
        values: The values, without NaN.
        counts: How often each value occurs, at least once.
        row_count: The number of rows.

    Returns:
        ``(row count,)``; NaN for a row without values.
    """
    order = np.lexsort((values, rows))
    rows, values, counts = rows[order], values[order], counts[order]
    totals = np.bincount(rows, counts, row_count)
    up_to_here = np.cumsum(counts) - (np.cumsum(totals) - totals)[rows]
    upper_half = 2 * up_to_here >= totals[rows]
    found, first = np.unique(rows[upper_half], return_index=True)
    result = np.full(row_count, np.nan)
    result[found] = values[upper_half][first]
    return result

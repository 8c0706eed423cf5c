"""Confidence intervals of means: percentile bootstrap over cases."""

import numpy as np
from numpy.typing import NDArray


def bootstrap_intervals(
    values: NDArray[np.float64], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of an interval around the mean of each column.

    Cases are drawn with replacement, whole rows at a time, so that the columns of one draw belong to the
    same cases (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

    Args:
        values: One row a case, one column a metric; at least one row.
        level: The share of resampled means inside the interval, between 0 and 1.
        resamples: How many times the cases are drawn.
        seed: Fixes the draws.

    Returns:
        The lower and the upper ends, ``(metrics,)`` each.
    """
    generator = np.random.default_rng(seed)
    case_count = len(values)
    means = np.empty((resamples, values.shape[1]))
    for resample in range(resamples):
        drawn = generator.integers(case_count, size=case_count, dtype=np.int32)
        means[resample] = np.bincount(drawn, minlength=case_count) @ values
    means /= case_count
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high

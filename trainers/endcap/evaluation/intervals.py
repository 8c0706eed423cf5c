"""Confidence intervals of means, and of the difference of two strategies: percentile bootstrap.

Cases that depend on each other, such as the prefixes of one session, form a cluster, and clusters are drawn
with replacement, whole ones at a time (Field and Welsh, "Bootstrapping clustered data", 2007).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


RESAMPLES = 1000
"""How many times the clusters are drawn."""

LEVEL = 0.95
"""The share of resampled means inside an interval."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean difference of two strategies on the same cases."""

    value: float
    low: float
    high: float
    standard_error: float

    @property
    def tells(self) -> bool:
        """Whether the difference is more than two standard errors; a smaller one is no gain."""
        return abs(self.value) > 2 * self.standard_error


def bootstrap_intervals(
    values: NDArray[np.float64],
    clusters: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of an interval around the mean of each column.

    Args:
        values: One row a case, one column a metric; at least one row.
        clusters: A number a case, equal for cases that depend on each other; None where none do.
        resamples: How many times the clusters are drawn.
        seed: Fixes the draws.

    Returns:
        The lower and the upper ends, ``(metrics,)`` each.
    """
    means = _resampled_means(values, clusters, resamples, seed)
    low, high = np.quantile(means, _ENDS, axis=0)
    return low, high


def paired_differences(
    values: NDArray[np.float64],
    others: NDArray[np.float64],
    clusters: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Return the mean of ``values`` less that of ``others`` for each metric.

    A draw takes both strategies' values of the same cases, so what makes a case hard for both cancels out.

    Args:
        values: One row a case, one column a metric.
        others: The values of another strategy on the same cases.
        clusters: As for ``bootstrap_intervals``.
        resamples: How many times the clusters are drawn.
        seed: Fixes the draws.
    """
    differences = values - others
    means = _resampled_means(differences, clusters, resamples, seed)
    low, high = np.quantile(means, _ENDS, axis=0)
    columns = np.column_stack([differences.mean(axis=0), low, high, means.std(axis=0, ddof=1)])
    return [Difference(*column) for column in columns.tolist()]


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _resampled_means(
    values: NDArray[np.float64], clusters: NDArray[np.int64] | None, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the mean of each column in each draw, ``(resamples, metrics)``."""
    if clusters is None:
        sums, sizes = values, np.ones(len(values))
    else:
        numbers, places = np.unique(clusters, return_inverse=True)
        sums = np.zeros((len(numbers), values.shape[1]))
        np.add.at(sums, places, values)
        sizes = np.bincount(places).astype(np.float64)
    generator = np.random.default_rng(seed)
    count = len(sums)
    means = np.empty((resamples, values.shape[1]))
    for resample in range(resamples):
        drawn = np.bincount(generator.integers(count, size=count, dtype=np.int32), minlength=count)
        means[resample] = (drawn @ sums) / (drawn @ sizes)
    return means

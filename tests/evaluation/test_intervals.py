"""Bootstrap intervals."""

import numpy as np
import pytest
from scipy import stats

from endcap.evaluation.intervals import bootstrap_intervals, paired_differences


def test_equal_values_leave_no_doubt() -> None:
    low, high = bootstrap_intervals(np.full((50, 2), [0.25, 4.0]))

    assert low == pytest.approx([0.25, 4.0])
    assert high == pytest.approx([0.25, 4.0])


def test_an_interval_is_as_wide_as_theory_says() -> None:
    # A share of 1/4 among 1,200 cases has a standard error of √(1/4 · 3/4 / 1200) = 0.0125.
    values = np.repeat([1.0, 0.0], [300, 900])[:, None]

    low, high = bootstrap_intervals(values, resamples=4000)

    assert low[0] == pytest.approx(0.25 - 1.96 * 0.0125, abs=0.002)
    assert high[0] == pytest.approx(0.25 + 1.96 * 0.0125, abs=0.002)


def test_a_seed_fixes_the_interval() -> None:
    values = np.random.default_rng(7).random((30, 1))

    assert bootstrap_intervals(values, seed=3)[0] == bootstrap_intervals(values, seed=3)[0]
    assert bootstrap_intervals(values, seed=3)[0] != bootstrap_intervals(values, seed=4)[0]


def test_cases_of_one_cluster_are_drawn_together() -> None:
    """Of 100 sessions of nine equal prefixes half succeed: the error is .05, that of 100 cases."""
    values = np.repeat([1.0, 0.0], 450)[:, None]
    sessions = np.repeat(np.arange(100), 9)

    low, high = bootstrap_intervals(values, sessions, resamples=4000)

    assert high[0] - low[0] == pytest.approx(2 * 1.96 * 0.05, abs=0.01)
    alone_low, alone_high = bootstrap_intervals(values, resamples=4000)
    assert high[0] - low[0] == pytest.approx(3 * (alone_high[0] - alone_low[0]), rel=0.1)


def test_a_mean_is_over_cases_and_not_over_clusters() -> None:
    """A session of three prefixes weighs three times as much as one of one."""
    values = np.array([[1.0], [1.0], [1.0], [0.0]])

    low, high = bootstrap_intervals(values, np.array([0, 0, 0, 1]))

    assert (low[0], high[0]) == (0, 1)
    [difference] = paired_differences(values, np.zeros((4, 1)), np.array([0, 0, 0, 1]))
    assert difference.value == 0.75


def test_a_paired_difference_agrees_with_scipy() -> None:
    generator = np.random.default_rng(5)
    hardness = generator.random(40)
    first, second = hardness + 0.1 * generator.random(40), hardness + 0.1 * generator.random(40)

    [found] = paired_differences(first[:, None], second[:, None], resamples=9999)

    expected = stats.bootstrap(
        (first, second), lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True, vectorized=True, method="percentile", n_resamples=9999, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert found.value == pytest.approx(np.mean(first - second))
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.03)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.0005)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.0005)


def test_a_difference_below_two_standard_errors_tells_nothing() -> None:
    # The standard error of a mean of 400 differences of ±1 is 1/20: .05 is one of them, .2 is four.
    def difference(mean: float) -> bool:
        values = np.repeat([1.0, -1.0], [round(200 * (1 + mean)), round(200 * (1 - mean))])[:, None]
        return paired_differences(values, np.zeros((400, 1)))[0].tells

    assert not difference(0.05)
    assert difference(0.2)
    assert not difference(0.0)

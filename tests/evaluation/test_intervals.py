"""Bootstrap intervals."""

import numpy as np
import pytest

from endcap.evaluation.intervals import bootstrap_intervals


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

"""Transforms that training and serving share, so that the two cannot differ.

A bundle's manifest carries ``VERSION``; a server refuses a bundle of another one.
"""

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import Rows


VERSION = 2
"""Raised whenever a transform of this module, ``positives``, ``text`` or ``content_features`` changes."""

DAY = 86_400_000
"""Milliseconds a day."""

AGE_EDGES = (1, 3, 7, 14, 30, 60, 90, 180, 365)
"""Days that separate the age buckets: bucket 0 is younger than one day, the last one at least a year old."""

AGE_BUCKETS = len(AGE_EDGES) + 1
"""Number of age buckets."""

AGE_MIDPOINTS = (0.5, 2.0, 5.0, 10.5, 22.0, 45.0, 75.0, 135.0, 272.5, 547.5)
"""The age in days that stands for each bucket."""


WEEK = 7 * DAY
"""Milliseconds a week."""

WEEKS = 13
"""Number of weeks whose users are counted apart, back from now."""


def age_bucket(times: NDArray[np.int64], now: int) -> NDArray[np.int64]:
    """Return the age bucket of each time.

    Args:
        times: Unix milliseconds, none after ``now``.
        now: Unix milliseconds.
    """
    return np.searchsorted(np.array(AGE_EDGES, np.int64) * DAY, now - times, side="right")


def recency_weights(length: int, decay: float) -> NDArray[np.float32]:
    """Return the weights of a sequence, oldest first: ``decay ** age``, the newest at age 0."""
    return np.float32(decay) ** np.arange(length - 1, -1, -1, dtype=np.float32)


def age_decay(times: NDArray[np.int64], now: int, half_life_days: float) -> NDArray[np.float32]:
    """Return ``.5 ** (age / half-life)`` of each time; a half-life of 0 is no decay.

    Args:
        times: Unix milliseconds; one after ``now`` counts as now.
        now: Unix milliseconds.
        half_life_days: After how many days an event counts half.
    """
    if not half_life_days:
        return np.ones(len(times), np.float32)
    ages = np.maximum(now - times, 0) / DAY
    return np.exp2(-ages / half_life_days).astype(np.float32)


def last_occurrences(rows: Rows) -> Rows:
    """Return each row once, in the order of its last occurrence."""
    return rows[last_positions(rows)]


def last_positions(rows: Rows) -> NDArray[np.int64]:
    """Return the last place of each distinct row, ascending."""
    _, from_end = np.unique(rows[::-1], return_index=True)
    return np.sort(len(rows) - 1 - from_end)

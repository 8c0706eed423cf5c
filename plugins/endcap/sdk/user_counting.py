"""Counts of the distinct users of each item, by age and by week."""

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.features import AGE_BUCKETS, WEEK, WEEKS, age_bucket
from endcap.sdk.vocabulary import Rows, frozen


def count_users(
    users: NDArray[np.int64] | NDArray[np.int32],
    rows: Rows,
    times: NDArray[np.int64],
    row_count: int,
    as_of: int,
) -> NDArray[np.int32]:
    """Count the users of events of one type by the age of the last time; ``(age buckets, rows)``.

    Args:
        users: A number a user.
        rows: The item of each event.
        times: Unix milliseconds; events after ``as_of`` are left out.
        row_count: How many rows there are.
        as_of: Unix milliseconds that ages are counted back from.
    """
    past = times <= as_of
    if not past.all():
        users, rows, times = users[past], rows[past], times[past]
    order = np.argsort(times, kind="stable")
    pairs = (users.astype(np.int64) * row_count + rows)[order]
    by_pair = np.argsort(pairs, kind="stable")
    pairs = pairs[by_pair]
    last = order[by_pair[np.append(pairs[1:] != pairs[:-1], True)]] if len(pairs) else order
    places = age_bucket(times[last], as_of) * row_count + rows[last]
    counts = np.bincount(places, minlength=AGE_BUCKETS * row_count).astype(np.int32)
    return frozen(counts.reshape(AGE_BUCKETS, row_count))


def count_weekly_users(
    users: NDArray[np.int64] | NDArray[np.int32],
    rows: Rows,
    times: NDArray[np.int64],
    row_count: int,
    as_of: int,
) -> NDArray[np.int32]:
    """Count the users of events of one type in each of the last weeks; ``(WEEKS, rows)``.

    Args:
        users: A number a user.
        rows: The item of each event.
        times: Unix milliseconds; events after ``as_of`` are left out.
        row_count: How many rows there are.
        as_of: Unix milliseconds that weeks are counted back from.
    """
    recent = (times <= as_of) & (times > as_of - WEEKS * WEEK)
    weeks = (as_of - times[recent]) // WEEK
    cells = WEEKS * row_count
    places = np.unique(users[recent].astype(np.int64) * cells + weeks * row_count + rows[recent]) % max(
        cells, 1
    )
    counts = np.bincount(places, minlength=cells).astype(np.int32)
    return frozen(counts.reshape(WEEKS, row_count))

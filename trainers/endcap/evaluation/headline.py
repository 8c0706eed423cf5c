"""The first group of cases of every split, with its cold slices."""

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.data import CaseHistories, Cases
from endcap.evaluation.ragged import Ragged
from endcap.sdk.catalog_view import EventColumns


UNDATED = 946_684_800_000
"""The present in Unix milliseconds for a data set without times. A user's events lie a millisecond
apart before it: their order holds, and no two ages differ by as much as a day."""


def headline(
    histories: CaseHistories,
    targets: Ragged,
    eligible: NDArray[np.bool_],
    train: EventColumns,
    clusters: NDArray[np.int64] | None = None,
) -> Cases:
    """Make the first group, with its cold slices.

    Cold users are the quarter of the cases with the shortest histories, cold items the quarter of the items
    with the fewest training events; ties with the last of them belong.
    """
    lengths = np.diff(histories.offsets)
    short = lengths <= np.quantile(lengths, 0.25, method="lower")
    rare = rare_items(train, eligible)
    slices = {"cold_users": short[targets.owners], "cold_items": rare[targets.flat]}
    return Cases("all", histories, targets, eligible, slices, clusters)


def rare_items(train: EventColumns, eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the items with as few training events as a quarter of the eligible ones; ``(items,)``."""
    counts = np.bincount(train.rows, minlength=len(eligible))
    rare: NDArray[np.bool_] = counts <= np.quantile(counts[eligible], 0.25, method="lower")
    return rare

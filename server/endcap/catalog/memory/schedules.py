"""The sale periods of a shop's items, so that availability follows the clock without a write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.items.items import Availability
from endcap.catalog.items.write_log import ItemRow
from endcap.sdk.vocabulary import Rows, frozen


_Array = TypeVar("_Array", bound=NDArray[Any])

NEVER = np.iinfo(np.int64).max
"""A time that is never reached."""


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The sale period of each row, in Unix milliseconds."""

    sellable: NDArray[np.bool_]
    """Whether the item is neither deleted nor sold out."""

    starts: NDArray[np.int64]
    """The first moment of the period."""

    ends: NDArray[np.int64]
    """The first moment after the period."""

    @classmethod
    def of(cls, items: Sequence[ItemRow]) -> Self:
        """Build a schedule from items, one for each row."""
        sellable = [not item.deleted and item.availability != Availability.OUT_OF_STOCK for item in items]
        starts = [0 if item.available_time is None else item.available_time for item in items]
        ends = [NEVER if item.expire_time is None else item.expire_time for item in items]
        return cls(np.array(sellable, np.bool_), np.array(starts, np.int64), np.array(ends, np.int64))

    def available(self, now: int) -> NDArray[np.bool_]:
        """Return whether each row can be bought at a moment, in Unix milliseconds."""
        return frozen(self.sellable & (self.starts <= now) & (now < self.ends))

    def next_change(self, now: int) -> int:
        """Return the first moment after ``now`` at which a sale period begins or ends, or ``NEVER``."""
        times = np.concatenate([self.starts[self.sellable], self.ends[self.sellable]])
        return int(times[times > now].min(initial=NEVER))

    def updated(self, rows: Rows, items: Sequence[ItemRow]) -> Self:
        """Return a schedule with some rows replaced or added, as in ``update_view``."""
        new = type(self).of(items)
        return type(self)(
            _updated(self.sellable, new.sellable, rows),
            _updated(self.starts, new.starts, rows),
            _updated(self.ends, new.ends, rows),
        )


def _updated(old: _Array, new: _Array, rows: Rows) -> _Array:
    missing = max(0, int(rows.max(initial=-1)) + 1 - len(old))
    column: _Array = np.pad(old, (0, missing))  # type: ignore[assignment]
    column[rows] = new
    return column

"""A snapshot as arrays: what every trainer starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse

from endcap.sdk import EventColumns, ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import Snapshot, item_columns


if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """The events of a snapshot, in time order."""

    item_ids: tuple[str, ...]
    """The items that somebody did something to; the rows of ``events`` point here."""

    items: ItemColumns
    """The snapshot's columns of each of these items."""

    events: EventColumns
    """Users are numbered from 0; times never decrease."""

    as_of: int
    """Unix milliseconds; no event is later."""

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> Self:
        """Read a snapshot.

        Raises:
            InvalidInput: The snapshot has no events.
        """
        table = snapshot.scan("events").select("user", "item_id", "type", "time").collect()
        if table.is_empty():
            raise InvalidInput("the snapshot has no events to learn from: record or import some first")
        interactions = cls.of_columns(
            users=table["user"].to_list(),
            items=table["item_id"].to_list(),
            types=table["type"].to_list(),
            times=table["time"].to_list(),
            as_of=snapshot.manifest.as_of,
        )
        return replace(interactions, items=_described(interactions.item_ids, snapshot.items()))

    @classmethod
    def of_columns(
        cls,
        users: Sequence[str],
        items: Sequence[str],
        types: Sequence[str],
        times: Sequence[int],
        as_of: int,
    ) -> Self:
        """Build from one value an event, in time order; nothing is said of the items."""
        item_ids, rows = np.unique(np.array(items, np.str_), return_inverse=True)
        _, user_numbers = np.unique(np.array(users, np.str_), return_inverse=True)
        return cls(
            item_ids=tuple(item_ids.tolist()),
            items=ItemColumns(
                ids=item_ids.tolist(),
                titles=[""] * len(item_ids),
                categories=[()] * len(item_ids),
                prices=np.full(len(item_ids), np.nan),
                available=np.ones(len(item_ids), np.bool_),
                created=np.zeros(len(item_ids), np.int64),
            ),
            events=EventColumns(
                users=user_numbers.astype(np.int64),
                rows=rows.astype(np.int32),
                types=np.array(types, np.str_),
                times=np.array(times, np.int64),
            ),
            as_of=as_of,
        )

    @property
    def positives(self) -> EventColumns:
        """The events that say most surely what users want: purchases, or all events when there are none."""
        purchases = self.events.types == "purchase"
        if not purchases.any():
            return self.events
        return EventColumns(
            users=self.events.users[purchases],
            rows=self.events.rows[purchases],
            types=self.events.types[purchases],
            times=self.events.times[purchases],
        )

    def matrix(self) -> sparse.csr_array:
        """Return the positives as a matrix, ``(users, items)`` float32, 1 where there is one."""
        positives = self.positives
        return incidence(positives.users, positives.rows, len(self.item_ids))


def _described(item_ids: Sequence[str], items: "pl.DataFrame") -> ItemColumns:
    """Return the columns of the items named; one that the table lacks is blank and not available."""
    import polars as pl

    found = pl.DataFrame({"item_id": item_ids}).join(items, on="item_id", how="left", maintain_order="left")
    return item_columns(
        found.with_columns(pl.col("available").fill_null(False), pl.col("created_time").fill_null(0))
    )


def incidence(
    groups: np.typing.NDArray[np.int64], rows: np.typing.NDArray[np.int32], item_count: int
) -> sparse.csr_array:
    """Return the incidence matrix, ``(groups, items)`` float32, 1 where a group holds an item.

    Args:
        groups: The group of each event, from 0.
        rows: The item of each event.
        item_count: How many items there are.
    """
    shape = (int(groups.max(initial=-1)) + 1, item_count)
    matrix = sparse.csr_array((np.ones(len(rows), np.float32), (groups, rows)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix

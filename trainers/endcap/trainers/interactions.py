"""A snapshot as arrays: what every trainer starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from endcap.sdk import EventColumns, ItemColumns, Rows
from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import InvalidInput
from endcap.sdk.positives import Positives, WeighedPairs, weigh_pairs
from endcap.sdk.snapshot import Snapshot, event_value, item_columns


if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class WeighedEvents:
    """Events as evidence of preference, in time order."""

    users: NDArray[np.int64]
    rows: Rows

    times: NDArray[np.int64]
    """Unix milliseconds."""

    weights: NDArray[np.float32]
    """Above 0 for the item, below 0 against it."""

    def of(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "WeighedEvents":
        """Return the chosen events: places, or a mask."""
        return WeighedEvents(self.users[chosen], self.rows[chosen], self.times[chosen], self.weights[chosen])

    def in_favour(self) -> "WeighedEvents":
        """Return the events that speak for their item."""
        return self.of(self.weights > 0)

    def pairs(self) -> WeighedPairs:
        """Return each user's evidence of each item."""
        return weigh_pairs(self.users, self.rows, self.weights, self.times)


@dataclass(frozen=True, eq=False)
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

    event_weights: Mapping[str, float] = field(default_factory=lambda: EVENT_WEIGHTS)
    """The weight of each event type as evidence of preference."""

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> Self:
        """Read a snapshot.

        Raises:
            InvalidInput: The snapshot has no events.
        """
        import polars as pl

        table = (
            snapshot.scan("events")
            .select(
                pl.col("user", "item_id", "type").cast(pl.Categorical()),
                "time",
                event_value(),
            )
            .collect(engine="streaming")
        )
        if table.is_empty():
            raise InvalidInput("the snapshot has no events to learn from: record or import some first")
        item_ids, rows = _numbered(table["item_id"])
        type_names, type_codes = _numbered(table["type"])
        return cls(
            item_ids=tuple(item_ids),
            items=_described(item_ids, snapshot.items()),
            events=EventColumns(
                users=_numbered(table["user"])[1].astype(np.int64),
                rows=rows,
                types=np.array(type_names, np.str_)[type_codes],
                times=table["time"].to_numpy(),
                values=table["value"].fill_null(np.nan).to_numpy(),
            ),
            as_of=snapshot.manifest.as_of,
            event_weights=snapshot.manifest.event_weights,
        )

    @classmethod
    def of_columns(
        cls,
        users: Sequence[str],
        items: Sequence[str],
        types: Sequence[str],
        times: Sequence[int],
        *,
        as_of: int,
        values: Sequence[float] = (),
        event_weights: Mapping[str, float] = EVENT_WEIGHTS,
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
                values=np.array(values, np.float32),
            ),
            as_of=as_of,
            event_weights=event_weights,
        )

    @cached_property
    def definition(self) -> Positives:
        """The definition of a positive that suits these events; a bundle's state records it."""
        return Positives.fit(self.events.types, self.events.values, self.event_weights)

    @cached_property
    def positives(self) -> "WeighedEvents":
        """The events to learn from, with their weights as evidence of preference; none weighs 0.

        Raises:
            InvalidInput: No event has a type of a weight above 0.
        """
        definition, events = self.definition, self.events
        weights = definition.weigh(events.types, events.values)
        chosen = (weights != 0) & definition.learns_from(events.types)
        if not (weights[chosen] > 0).any():
            raise InvalidInput(
                "the snapshot has no events of a weight above 0 to learn from: record or import such events,"
                " or set the weights of the shop's event types"
            )
        return WeighedEvents(events.users[chosen], events.rows[chosen], events.times[chosen], weights[chosen])

    def matrix(self) -> sparse.csr_array:
        """Return the evidence, ``(users, items)`` float32, 0 where there is none, below 0 against an item."""
        return pair_matrix(self.positives.pairs(), len(self.item_ids))


def pair_matrix(pairs: WeighedPairs, item_count: int) -> sparse.csr_array:
    """Return the weights of pairs as a matrix, ``(users, items)`` float32."""
    shape = (int(pairs.users.max(initial=-1)) + 1, item_count)
    return sparse.csr_array((pairs.weights, (pairs.users, pairs.rows)), shape=shape)


def _numbered(column: "pl.Series") -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct texts of a categorical column, sorted, and the place of each value among them."""
    import polars as pl

    distinct = column.unique()
    texts = distinct.cast(pl.String())
    order = texts.arg_sort()
    codes = distinct.to_physical().to_numpy()
    places = np.zeros(int(codes.max()) + 1, np.int32)
    places[codes[order.to_numpy()]] = np.arange(len(codes), dtype=np.int32)
    return texts[order].to_list(), places[column.to_physical().to_numpy()]


def _described(item_ids: Sequence[str], items: "pl.DataFrame") -> ItemColumns:
    """Return the columns of the items named; one that the table lacks is blank and not available."""
    import polars as pl

    found = pl.DataFrame({"item_id": item_ids}).join(items, on="item_id", how="left", maintain_order="left")
    return item_columns(
        found.with_columns(pl.col("available").fill_null(False), pl.col("created_time").fill_null(0))
    )

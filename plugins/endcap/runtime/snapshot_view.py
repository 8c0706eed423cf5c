"""A snapshot as strategies see it: the catalog view and what every user did."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import UNKNOWN, CatalogView, EventColumns, History, Rows, build_view
from endcap.sdk.median import medians
from endcap.sdk.snapshot import Snapshot, item_columns


if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Histories(Mapping[str, History]):
    """The history of every user that did something, stored flat."""

    users: tuple[str, ...]
    """Pseudonyms, sorted."""

    offsets: NDArray[np.int64]
    """User ``u`` owns the events ``offsets[u]:offsets[u + 1]``; ``(users + 1,)``."""

    rows: Rows
    """Item rows, user after user and oldest first."""

    types: NDArray[np.str_]

    times: NDArray[np.int64]
    """Unix milliseconds."""

    def __getitem__(self, user: str) -> History:
        index = bisect_left(self.users, user)
        if index == len(self.users) or self.users[index] != user:
            raise KeyError(user)
        events = slice(self.offsets[index], self.offsets[index + 1])
        return History(self.rows[events], self.types[events], self.times[events])

    def __iter__(self) -> Iterator[str]:
        return iter(self.users)

    def __len__(self) -> int:
        return len(self.users)


def snapshot_view(snapshot: Snapshot) -> tuple[CatalogView, Histories]:
    """Read a snapshot into a view, named by the snapshot's fingerprint, and histories.

    Events of items that the snapshot does not hold are left out.
    """
    items = snapshot.items()
    events = snapshot.scan("events").select("user", "item_id", "type", "time", "price").collect()
    item_ids, users = items["item_id"].to_list(), sorted(events["user"].unique().to_list())
    rows = _codes(events["item_id"], item_ids)
    known = rows != UNKNOWN
    columns = EventColumns(
        users=_codes(events["user"], users)[known].astype(np.int64),
        rows=rows[known],
        types=_strings(events["type"])[known],
        times=events["time"].to_numpy()[known],
    )
    view = build_view(
        replace(item_columns(items), paid_prices=_paid_prices(events, rows, len(item_ids))),
        columns,
        version=snapshot.manifest.fingerprint,
        as_of=snapshot.manifest.as_of,
        currency=snapshot.manifest.currency,
    )
    return view, _histories(users, columns)


def _paid_prices(events: "pl.DataFrame", rows: Rows, item_count: int) -> NDArray[np.float64]:
    """Return the median of what was paid for each item."""
    prices = events["price"].fill_null(np.nan).to_numpy()
    paid = (events["type"] == "purchase").to_numpy() & (rows != UNKNOWN) & ~np.isnan(prices)
    return medians(rows[paid], prices[paid], np.ones(np.count_nonzero(paid), np.int64), item_count)


def _histories(users: Sequence[str], events: EventColumns) -> Histories:
    """Lay events, which are in time order, user after user."""
    order = np.argsort(events.users, kind="stable")
    offsets = np.searchsorted(events.users[order], np.arange(len(users) + 1))
    return Histories(
        users=tuple(users),
        offsets=offsets.astype(np.int64),
        rows=events.rows[order],
        types=events.types[order],
        times=events.times[order],
    )


def _codes(values: "pl.Series", names: Sequence[str]) -> Rows:
    """Return the position of each value in ``names``, ``UNKNOWN`` where it is not there."""
    import polars as pl

    codes = values.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int32)
    rows: Rows = codes.fill_null(UNKNOWN).to_numpy()
    return rows


def _strings(values: "pl.Series") -> NDArray[np.str_]:
    names = values.unique().to_list()
    return np.array(names, np.str_)[_codes(values, names)]

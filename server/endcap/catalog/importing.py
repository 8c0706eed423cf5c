"""Import: a folder of Parquet files into a shop.

::

    items.parquet     item_id, title; may have description, categories, brand, price, group_id,
                      available, created_time
    users.parquet     user_id; may have created_time; the file may be missing
    events.parquet    user_id, item_id, type, time; may have event_id, visitor_id, quantity, price, value,
                      order_id

Times are in Unix milliseconds, prices in units of the currency. An event without an id gets one from its
content and its row, so importing a folder again adds nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from endcap.catalog.database import Database
from endcap.catalog.events import Event, Outcome, store_events
from endcap.catalog.items import Availability, Item, upsert_items
from endcap.catalog.money import to_nanos
from endcap.catalog.rejecting import Column, Kind, check_file, read_batches
from endcap.catalog.users import remember_users
from endcap.sdk.errors import InvalidInput


Value = TypeVar("Value")

BATCH_SIZE = 10_000
"""Rows a transaction."""

ITEM_COLUMNS = (
    Column("item_id", Kind.TEXT, required=True),
    Column("title", Kind.TEXT, required=True),
    Column("description", Kind.TEXT),
    Column("categories", Kind.TEXTS),
    Column("brand", Kind.TEXT),
    Column("price", Kind.AMOUNT),
    Column("group_id", Kind.TEXT),
    Column("available", Kind.FLAG),
    Column("created_time", Kind.TIME),
)

USER_COLUMNS = (Column("user_id", Kind.TEXT, required=True), Column("created_time", Kind.TIME))

EVENT_COLUMNS = (
    Column("user_id", Kind.TEXT, required=True),
    Column("item_id", Kind.TEXT, required=True),
    Column("type", Kind.TEXT, required=True),
    Column("time", Kind.TIME, required=True),
    Column("event_id", Kind.TEXT),
    Column("visitor_id", Kind.TEXT),
    Column("quantity", Kind.NUMBER),
    Column("price", Kind.AMOUNT),
    Column("value", Kind.NUMBER),
    Column("order_id", Kind.TEXT),
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, in rows."""

    items: int
    users: int
    events: int

    duplicates: int
    """Events that were there before."""

    rejected: Mapping[str, int]
    """Rows that were left out, by file and reason."""


async def import_folder(
    database: Database,
    shop: str,
    folder: Path,
    *,
    now: int,
    currency: str = "",
    rejects: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ImportReport:
    """Import a folder into a shop that exists.

    Args:
        database: Where the shop is.
        shop: Its id.
        folder: Holds the files.
        now: Unix milliseconds; the creation time of items and users that have none.
        currency: ISO 4217 code of the prices; empty for the shop's.
        rejects: A file for the rejected rows with their reasons, as JSON lines; none if there are none.
        progress: Told how many rows are done, and of how many.

    Raises:
        InvalidInput: A file or a column is missing.
        NotFound: There is no such shop.
    """
    files = {
        folder / "items.parquet": ITEM_COLUMNS,
        folder / "users.parquet": USER_COLUMNS,
        folder / "events.parquet": EVENT_COLUMNS,
    }
    items_file, users_file, events_file = files
    for file in (items_file, events_file):
        if not file.is_file():
            raise InvalidInput(f"{file} is missing: an import needs items.parquet and events.parquet")
    total = sum(check_file(file, columns) for file, columns in files.items() if file.is_file())
    reader = _Reader(rejects, progress, total)
    items = users = 0
    for rows in reader.read(items_file, ITEM_COLUMNS):
        of_batch = [_item(row, currency) for row in rows]
        async with database.write() as connection:
            await upsert_items(connection=connection, shop=shop, items=of_batch, now=now)
        items += len(of_batch)
    if users_file.is_file():
        for rows in reader.read(users_file, USER_COLUMNS):
            times = {row["user_id"]: _or(row["created_time"], now) for row in rows}
            async with database.write() as connection:
                await remember_users(connection=connection, shop=shop, created_times=times)
            users += len(rows)
    outcomes: Counter[Outcome] = Counter()
    for rows in reader.read(events_file, EVENT_COLUMNS):
        events = [_event(row, currency) for row in rows]
        async with database.write() as connection:
            stored = await store_events(connection=connection, shop=shop, events=events)
        outcomes.update(stored.outcomes)
    if outcomes[Outcome.CONFLICT]:
        reader.rejected["events.parquet: event_id is that of another event"] += outcomes[Outcome.CONFLICT]
    return ImportReport(
        items, users, outcomes[Outcome.ACCEPTED], outcomes[Outcome.DUPLICATE], dict(reader.rejected)
    )


class _Reader:
    """Reads files, keeps count of what is rejected, and tells how far it is."""

    def __init__(self, rejects: Path | None, progress: Callable[[int, int], None], total: int) -> None:
        self.rejected: Counter[str] = Counter()
        self._rejects = rejects
        self._progress = progress
        self._done = 0
        self._total = total

    def read(self, file: Path, columns: Sequence[Column]) -> Iterator[list[dict[str, Any]]]:
        """Give the good rows, batch after batch; one counts as done when the next is asked for."""
        for batch in read_batches(file, columns, batch_size=BATCH_SIZE):
            self.rejected.update(f"{file.name}: {reason}" for reason in batch.rejected["reason"])
            if self._rejects is not None and not batch.rejected.is_empty():
                with self._rejects.open("ab") as stream:
                    batch.rejected.write_ndjson(stream)
            yield batch.rows.to_dicts()
            self._done += batch.size
            self._progress(self._done, self._total)


def _item(row: Mapping[str, Any], currency: str) -> Item:
    return Item(
        id=row["item_id"],
        title=row["title"],
        description=row["description"] or "",
        categories=tuple(row["categories"] or ()),
        brand=row["brand"] or "",
        price_nanos=_nanos(row["price"]),
        currency=currency,
        availability=Availability.OUT_OF_STOCK if row["available"] is False else Availability.IN_STOCK,
        group_id=row["group_id"] or "",
        created_time=row["created_time"],
    )


def _event(row: Mapping[str, Any], currency: str) -> Event:
    event_id = row["event_id"]
    if event_id is None:
        content = "\x1f".join(map(str, row.values()))
        digest = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
        # Ids that ascend are stored several times faster than ids in no order.
        event_id = f"row-{row['row']:010d}-{digest}"
    return Event(
        event_id=event_id,
        type=row["type"],
        item_id=row["item_id"],
        time=row["time"],
        user_id=row["user_id"],
        visitor_id=row["visitor_id"],
        quantity=_or(row["quantity"], 1.0),
        price_nanos=_nanos(row["price"]),
        currency=currency if row["price"] is not None else "",
        value=row["value"],
        order_id=row["order_id"] or "",
    )


def _nanos(price: float | None) -> int | None:
    return None if price is None else to_nanos(price)


def _or(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value

"""Import: a folder of Parquet files into a shop.

::

    items.parquet     item_id, title, price; may have description, brand, group_id
    events.parquet    user_id, item_id, type, time; may have quantity, price, value, order_id

Times are in Unix milliseconds. Every cell is read as text and cast by itself, so that one bad cell
costs its row and nothing else. An event without an id gets one from its content and its row, so
importing a folder again adds nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from endcap.catalog.database import Database
from endcap.catalog.events import Event, Outcome, store_events
from endcap.catalog.items import Item, upsert_items
from endcap.catalog.money import to_nanos
from endcap.sdk.errors import InvalidInput


_BATCH = 10_000
_ITEM_COLUMNS = {"item_id": pl.String, "title": pl.String, "price": pl.Float64}
_OPTIONAL_ITEM_COLUMNS = {"description": pl.String, "brand": pl.String, "group_id": pl.String}
_EVENT_COLUMNS = {"user_id": pl.String, "item_id": pl.String, "type": pl.String, "time": pl.Int64}
_OPTIONAL_EVENT_COLUMNS = {
    "quantity": pl.Float64,
    "price": pl.Float64,
    "value": pl.Float64,
    "order_id": pl.String,
}


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    items: int
    events: int

    duplicates: int
    """Events that were there before."""

    rejected: Mapping[str, int]
    """Rows that were left out, by why."""


async def import_folder(
    database: Database,
    shop: str,
    folder: Path,
    *,
    now: int,
    currency: str = "",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ImportReport:
    """Import a folder into a shop that exists.

    Args:
        database: Where the shop is.
        shop: Its id.
        folder: Holds ``items.parquet`` and ``events.parquet``.
        now: Unix milliseconds.
        currency: ISO 4217 code of the prices.
        progress: Told how many events are done, and of how many.

    Raises:
        InvalidInput: A file or a column is missing.
        NotFound: There is no such shop.
    """
    rejected: Counter[str] = Counter()
    items = _read(folder / "items.parquet", _ITEM_COLUMNS, _OPTIONAL_ITEM_COLUMNS, rejected, {"price"})
    async with database.write() as connection:
        values = [_item(row, currency) for row in items.iter_rows(named=True)]
        await upsert_items(connection=connection, shop=shop, items=values, now=now)
    events = _read(folder / "events.parquet", _EVENT_COLUMNS, _OPTIONAL_EVENT_COLUMNS, rejected, set())
    outcomes: Counter[Outcome] = Counter()
    for offset in range(0, events.height, _BATCH):
        rows = events.slice(offset, _BATCH).iter_rows(named=True)
        batch = [_event(row, currency, offset + place) for place, row in enumerate(rows)]
        async with database.write() as connection:
            stored = await store_events(connection=connection, shop=shop, events=batch)
        outcomes.update(stored.outcomes)
        progress(offset + len(batch), events.height)
    return ImportReport(items.height, outcomes[Outcome.ACCEPTED], outcomes[Outcome.DUPLICATE], dict(rejected))


def _read(
    file: Path,
    required: Mapping[str, type[pl.DataType]],
    optional: Mapping[str, type[pl.DataType]],
    rejected: Counter[str],
    may_be_missing: set[str],
) -> pl.DataFrame:
    if not file.is_file():
        raise InvalidInput(f"{file} is missing: an import needs items.parquet and events.parquet")
    frame = pl.read_parquet(file)
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise InvalidInput(f"{file} has no column {missing[0]!r}: it needs {', '.join(required)}")
    columns = {name: kind for name, kind in {**required, **optional}.items() if name in frame.columns}
    frame = frame.select(
        pl.col(name).cast(pl.String).cast(kind, strict=False) for name, kind in columns.items()
    )
    for name in required:
        if name not in may_be_missing:
            bad = frame[name].is_null()
            if bad.any():
                rejected[f"{file.name}: no valid {name}"] += int(bad.sum())
                frame = frame.filter(~bad)
    return frame


def _item(row: Mapping[str, object], currency: str) -> Item:
    price = row["price"]
    return Item(
        id=str(row["item_id"]),
        title=str(row["title"]),
        description=str(row.get("description") or ""),
        brand=str(row.get("brand") or ""),
        group_id=str(row.get("group_id") or ""),
        price_nanos=to_nanos(float(str(price))) if price is not None else None,
        currency=currency,
    )


def _event(row: Mapping[str, object], currency: str, place: int) -> Event:
    content = "\x1f".join(str(value) for value in (place, *row.values()))
    price, value = row.get("price"), row.get("value")
    return Event(
        event_id=hashlib.sha256(content.encode()).hexdigest()[:32],
        type=str(row["type"]),
        item_id=str(row["item_id"]),
        time=int(str(row["time"])),
        user_id=str(row["user_id"]),
        quantity=float(str(row.get("quantity") or 1.0)),
        price_nanos=to_nanos(float(str(price))) if price is not None else None,
        currency=currency if price is not None else "",
        value=float(str(value)) if value is not None else None,
        order_id=str(row.get("order_id") or ""),
    )

"""Importing a folder: what is good gets in once, what is bad is named and left out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from endcap.catalog.database import Database
from endcap.catalog.events import events_after
from endcap.catalog.importing import ImportReport, import_folder
from endcap.catalog.items import Availability, Item, get_items
from endcap.sdk.errors import InvalidInput


ITEMS = {
    "item_id": ["mug", "kettle"],
    "title": ["Mug", "Kettle"],
    "categories": [["Home", "Gifts"], None],
    "price": [6.95, None],
    "available": [True, False],
    "created_time": [5, None],
}
EVENTS = {
    "user_id": ["ann", "ann"],
    "item_id": ["mug", "mug"],
    "type": ["purchase", "purchase"],
    "time": [10, 10],
    "quantity": [2.0, 2.0],
    "price": [6.95, 6.95],
}


def _write(folder: Path, **tables: Mapping[str, Any]) -> Path:
    for name, columns in tables.items():
        pl.DataFrame(columns, strict=False).write_parquet(folder / f"{name}.parquet")
    return folder


async def _items(database: Database) -> dict[str, Item]:
    async with database.read() as connection:
        return await get_items(connection=connection, shop="default", item_ids=["mug", "kettle"])


async def test_good_rows_are_imported(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, items=ITEMS, users={"user_id": ["bob"], "created_time": [3]}, events=EVENTS)

    report = await import_folder(catalog_database, "default", folder, now=9, currency="GBP")

    assert report == ImportReport(items=2, users=1, events=2, duplicates=0, rejected={})
    items = await _items(catalog_database)
    assert (items["mug"].price_nanos, items["mug"].currency) == (6_950_000_000, "GBP")
    assert (items["mug"].categories, items["mug"].created_time) == (("Home", "Gifts"), 5)
    assert (items["kettle"].price_nanos, items["kettle"].availability) == (None, Availability.OUT_OF_STOCK)
    assert items["kettle"].created_time == 9
    async with catalog_database.read() as connection:
        (_, event), _ = await events_after(connection=connection, shop="default", revision=0)
    assert (event.user_id, event.quantity, event.price_nanos) == ("ann", 2.0, 6_950_000_000)


async def test_a_second_import_adds_nothing(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, items=ITEMS, events=EVENTS)
    await import_folder(catalog_database, "default", folder, now=9)

    report = await import_folder(catalog_database, "default", folder, now=9)

    assert (report.events, report.duplicates) == (0, 2)


async def test_a_bad_cell_costs_its_row_and_nothing_else(catalog_database: Database, tmp_path: Path) -> None:
    bad_events = {
        "user_id": ["ann", "", None, "bob", "bob", "bob", "bob"],
        "item_id": ["mug"] * 7,
        "type": ["view"] * 7,
        "time": ["10", "10", "10", "yesterday", "-1", "10", "10"],
        "value": ["4.5", None, None, None, None, "nan", None],
        "event_id": ["a", "b", "c", "d", "e", "f", "a"],
    }
    bad_items = {"item_id": ["mug", "kettle"], "title": ["Mug", "Kettle"], "price": ["-1", "6.95"]}
    folder = _write(tmp_path, items=bad_items, events=bad_events)
    rejects = tmp_path / "rejects.jsonl"

    report = await import_folder(catalog_database, "default", folder, now=9, rejects=rejects)

    assert list(await _items(catalog_database)) == ["kettle"]
    assert (report.items, report.events) == (1, 1)
    assert report.rejected == {
        "items.parquet: price is not an amount of money": 1,
        "events.parquet: user_id is missing": 2,
        "events.parquet: time is not a time in Unix milliseconds": 2,
        "events.parquet: value is not a finite number": 1,
        "events.parquet: event_id is that of another event": 1,
    }
    lines = [json.loads(line) for line in rejects.read_text(encoding="utf-8").splitlines()]
    assert [(line["file"], line["row"]) for line in lines] == [
        ("items.parquet", 0),
        *[("events.parquet", row) for row in (1, 2, 3, 4, 5)],
    ]
    assert (lines[3]["time"], lines[3]["reason"]) == ("yesterday", "time is not a time in Unix milliseconds")


async def test_progress_counts_every_row(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, items=ITEMS, events=EVENTS)
    told: list[tuple[int, int]] = []

    await import_folder(
        catalog_database, "default", folder, now=9, progress=lambda done, total: told.append((done, total))
    )

    assert told == [(2, 4), (4, 4)]


async def test_a_missing_file_column_or_format_is_named(catalog_database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"items\.parquet is missing"):
        await import_folder(catalog_database, "default", tmp_path, now=9)

    folder = _write(tmp_path, items=ITEMS, events={"user_id": ["ann"], "item_id": ["mug"], "type": ["view"]})
    with pytest.raises(InvalidInput, match="no column 'time'"):
        await import_folder(catalog_database, "default", folder, now=9)
    assert await _items(catalog_database) == {}

    (tmp_path / "events.parquet").write_text("user_id,item_id", encoding="utf-8")
    with pytest.raises(InvalidInput, match="not a Parquet file"):
        await import_folder(catalog_database, "default", folder, now=9)

"""A snapshot is written whole, and what was altered is refused."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from endcap.sdk import ItemColumns
from endcap.sdk.errors import DataLoss, FailedPrecondition, InvalidInput
from endcap.sdk.snapshot import (
    Snapshot,
    event_schema,
    item_columns,
    item_schema,
    item_table,
    user_schema,
    write_snapshot,
)


def events_at(*times: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": ["ann"] * len(times),
            "item_id": [f"item {number}" for number in range(len(times))],
            "type": ["view"] * len(times),
            "time": times,
            "quantity": [1.0] * len(times),
            "price": [None] * len(times),
            "value": [None] * len(times),
        },
        schema=event_schema(),
    )


def write(folder: Path, events: pl.DataFrame | None = None) -> Snapshot:
    return write_snapshot(
        folder,
        items=pl.DataFrame(schema=item_schema()),
        users=pl.DataFrame({"user": ["ann"], "created_time": [1]}, schema=user_schema()),
        events=events_at(3, 1, 2, 1) if events is None else events,
        shop="default",
        as_of=5,
        currency="GBP",
    )


def test_a_snapshot_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = write(tmp_path / "snapshot")

    snapshot = Snapshot.open(tmp_path / "snapshot")

    assert snapshot == written
    assert snapshot.manifest.counts == {"items": 0, "users": 1, "events": 4, "exposures": 0}
    assert (snapshot.manifest.shop, snapshot.manifest.as_of, snapshot.manifest.currency) == (
        "default",
        5,
        "GBP",
    )
    assert snapshot.users().rows() == [("ann", 1)]
    assert snapshot.items().schema == item_schema()


def test_events_are_in_time_order_and_equal_times_keep_theirs(tmp_path: Path) -> None:
    events = write(tmp_path / "snapshot").events()

    assert events["time"].to_list() == [1, 1, 2, 3]
    assert events["item_id"].to_list() == ["item 1", "item 3", "item 2", "item 0"]


def test_equal_tables_have_equal_fingerprints(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    other = write(tmp_path / "other", events_at(1))

    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert first.manifest.fingerprint != other.manifest.fingerprint


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="exists already"):
        write(tmp_path)


def test_a_table_with_other_columns_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the snapshot's events must have the columns"):
        write(tmp_path / "snapshot", events_at(1).with_columns(extra=pl.lit(1)))

    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_snapshot_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="write one with 'endcap snapshot'"):
        Snapshot.open(tmp_path)


@pytest.mark.parametrize("name", ["items-00000.parquet", "users-00000.parquet", "events-00000.parquet"])
def test_an_altered_or_missing_file_is_found(name: str, tmp_path: Path) -> None:
    write(tmp_path / "snapshot")
    file = tmp_path / "snapshot" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1

    file.write_bytes(content)
    with pytest.raises(DataLoss, match=name):
        Snapshot.open(tmp_path / "snapshot")

    file.unlink()
    with pytest.raises(DataLoss, match=name):
        Snapshot.open(tmp_path / "snapshot")


def test_another_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "snapshot")
    manifest = tmp_path / "snapshot" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 99}))

    with pytest.raises(FailedPrecondition, match="has format 99"):
        Snapshot.open(tmp_path / "snapshot")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1}', "<html>", '{"a":' * 9])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    write(tmp_path / "snapshot")
    (tmp_path / "snapshot" / "manifest.json").write_text(text)

    with pytest.raises(DataLoss, match="manifest cannot be read"):
        Snapshot.open(tmp_path / "snapshot")


def test_items_survive_the_way_into_a_snapshot_and_back() -> None:
    items = ItemColumns(
        ids=["mug", "tea"],
        titles=["Mug", ""],
        categories=[["home"], []],
        prices=np.array([1.5, np.nan]),
        available=np.array([True, False]),
        created=np.array([1, 2], np.int64),
        brands=["Acme", ""],
        attributes=[{"colours": ["red"], "watts": 40.0}, {}],
    )

    read = item_columns(item_table(items))

    assert read.titles == ["Mug", ""]
    assert [tuple(names) for names in read.categories] == [("home",), ()]
    np.testing.assert_array_equal(read.prices, items.prices)
    assert np.isnan(read.costs).all()
    assert list(read.brands) == ["Acme", ""]
    assert read.attributes == [{"colours": ["red"], "watts": 40.0}, {}]


def test_what_an_item_of_a_snapshot_lacks_is_blank() -> None:
    table = pl.DataFrame(
        {name: [None] for name in item_schema()}
        | {"item_id": ["mug"], "available": [True], "created_time": [1]},
        schema=item_schema(),
    )

    read = item_columns(table)

    assert (read.titles, read.descriptions, read.brands, read.group_ids) == ([""], [""], [""], [""])
    assert ([*read.categories], [*read.tags], read.attributes) == ([()], [()], [{}])
    np.testing.assert_array_equal([read.prices, read.original_prices, read.costs], np.full((3, 1), np.nan))

"""A snapshot is written whole, and what was altered is refused."""

import json
import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.sdk import ItemColumns
from endcap.sdk.errors import DataLoss, FailedPrecondition, InvalidInput
from endcap.sdk.snapshot import (
    FORMAT_VERSION,
    Snapshot,
    TypedValue,
    attributes_type,
    conform,
    event_schema,
    item_columns,
    item_schema,
    item_table,
    pack_attributes,
    unpack_attributes,
    user_schema,
    write_snapshot,
)


def events_at(*times: int) -> pl.DataFrame:
    events = pl.DataFrame(
        {
            "user": ["ann"] * len(times),
            "item_id": [f"item {number}" for number in range(len(times))],
            "type": ["view"] * len(times),
            "time": times,
        }
    )
    return conform(events, event_schema())


def write(folder: Path, events: pl.DataFrame | None = None) -> Snapshot:
    return write_snapshot(
        folder,
        items=pl.DataFrame(schema=item_schema()),
        users=conform(pl.DataFrame({"user": ["ann"], "created_time": [1]}), user_schema()),
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
    assert snapshot.users().select("user", "created_time").rows() == [("ann", 1)]
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


def test_a_table_with_other_columns_is_rejected_and_nothing_is_left(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (FORMAT_VERSION - 1, "write it again with 'endcap snapshot'"),
        (FORMAT_VERSION + 1, "read it with a newer release"),
    ],
)
def test_another_format_is_rejected_with_what_to_do(version: int, advice: str, tmp_path: Path) -> None:
    """Whatever else its manifest holds."""
    write(tmp_path / "snapshot")
    manifest = tmp_path / "snapshot" / "manifest.json"
    manifest.write_text(json.dumps({"format_version": version, "anything": "else"}))

    with pytest.raises(FailedPrecondition, match=f"has format {version}, .*: {advice}"):
        Snapshot.open(tmp_path / "snapshot")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        f'{{"format_version": {FORMAT_VERSION}}}',
        '{"format_version": []}',
        "<html>",
        '{"a":' * 9,
    ],
)
def test_a_text_that_is_not_a_manifest_is_rejected(text: str, tmp_path: Path) -> None:
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
        availabilities=["preorder", ""],
        attributes=[{"colours": ["red"], "watts": 40.0}, {}],
    )

    read = item_columns(item_table(items))

    assert read.titles == ["Mug", ""]
    assert [tuple(names) for names in read.categories] == [("home",), ()]
    np.testing.assert_array_equal(read.prices, items.prices)
    assert np.isnan(read.costs).all()
    assert list(read.brands) == ["Acme", ""]
    assert list(read.availabilities) == ["preorder", ""]
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


TEXTS = st.text(max_size=8)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=5_000))
VALUES: st.SearchStrategy[TypedValue] = (
    TEXTS | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | MOMENTS | st.lists(TEXTS)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(TEXTS, VALUES, max_size=5), max_size=4))
def test_attributes_survive_the_way_into_a_file_and_back(
    rows: list[dict[str, TypedValue]], tmp_path: Path
) -> None:
    """To the last bit of a number, and a yes is no 1."""
    column = pack_attributes(rows).alias("attributes")
    column.to_frame().write_parquet(tmp_path / "attributes.parquet")

    read = unpack_attributes(pl.read_parquet(tmp_path / "attributes.parquet")["attributes"])

    assert column.dtype == attributes_type()
    assert [{name: exactly(value) for name, value in row.items()} for row in read] == [
        {name: exactly(value) for name, value in row.items()} for row in rows
    ]


def exactly(value: TypedValue) -> object:
    """Return what is equal only for values of one type and equal to the last bit."""
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


def test_each_type_of_attribute_has_a_field_of_its_own() -> None:
    """So that a reader can ask for all numbers of a name."""
    since = datetime(2026, 1, 31, tzinfo=UTC)
    mug: dict[str, TypedValue] = {
        "colour": "red",
        "fair": False,
        "litres": 0.5,
        "since": since,
        "uses": ["tea", "soup"],
    }

    column = pack_attributes([mug])

    entries = column.explode().struct.unnest()
    assert entries.rows() == [
        ("colour", "red", None, None, None, None),
        ("fair", None, None, False, None, None),
        ("litres", None, 0.5, None, None, None),
        ("since", None, None, None, None, since),
        ("uses", None, None, None, ["tea", "soup"], None),
    ]


def test_a_view_of_a_snapshot_takes_moments_for_numbers_as_that_of_a_server_does() -> None:
    table = conform(
        pl.DataFrame({"item_id": ["mug"], "available": [True], "created_time": [1]}), item_schema()
    )
    since = pack_attributes([{"since": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}])

    read = item_columns(table.with_columns(since.alias("attributes")))

    assert read.attributes == [{"since": 1_000}]

"""What a request may say, a file may say: the same entries get in either way, and none stops a server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.tables import ITEMS
from endcap.catalog.importing.importer import check_files, import_files
from endcap.catalog.importing.report import ImportReport
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import Source
from endcap.catalog.items.attribute_checks import AttributeChecker
from endcap.catalog.items.entry_changes import changed_item
from endcap.catalog.items.items import Item, get_items, upsert_items
from endcap.catalog.memory.loading import load_shop
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.client import AsyncClient
from endcap.sdk.errors import InvalidInput
from endcap.server.admin.caller import Caller
from endcap.server.admin.entries import write_items
from endcap.server.api.convert.events import read_event
from endcap.server.api.convert.items import item_reader, write_item
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1 import event_pb2, item_pb2
from endcap.v1.catalog_service_pb2 import GetItemRequest, ListItemsRequest


NOW = 1_700_000_000_000

ITEM = {"item_id": "mug", "title": "Mug"}
EVENT = {"event_id": "1", "item_id": "mug", "type": "view", "time": NOW, "user_id": "ann"}

ITEMS_OF_RULES: list[tuple[Mapping[str, Any], bool]] = [
    ({}, True),
    ({"item_id": "é" * 128}, True),
    ({"item_id": "é" * 129}, False),
    ({"item_id": "a\u200bb"}, False),  # a space that nobody sees
    ({"title": "t" * 1_024}, True),
    ({"title": "t" * 1_025}, False),
    ({"image_uris": ["https://shop.example/a.png", "s3://bucket/a.png"]}, True),
    ({"image_uris": ["javascript:alert(1)"]}, False),
    ({"image_uris": ["https://shop.example/a b.png"]}, False),
    ({"image_uris": ["https://shop.example/a.png"] * 17}, False),
    ({"tags": ["t" * 128] * 64}, True),
    ({"tags": ["t"] * 65}, False),
    ({"tags": ["t" * 129]}, False),
    ({"available_time": 1, "expire_time": 2}, True),
    ({"available_time": -1}, True),
    ({"available_time": 2, "expire_time": 2}, False),
    ({"available_time": 253_402_300_799_000}, True),
    ({"available_time": 253_402_300_800_000}, False),
    ({"language_code": "zh-Hant-TW"}, True),
    ({"language_code": "de_DE"}, False),
    ({"language_code": "de-12345678-12345678-12345678-123456"}, False),
    ({"price": 6.5, "currency": "EUR"}, True),
    ({"price": 6.5, "currency": "!!!"}, False),
    ({"price": -0.5, "currency": "EUR"}, False),
    ({"price": 9_223_372_035.5, "currency": "EUR"}, True),
    ({"price": 9_223_372_036, "currency": "EUR"}, False),
    ({"created_time": NOW + 300_000}, True),
    ({"created_time": NOW + 300_001}, False),
    ({"localized_texts": {"de": {"title": "Becher", "description": ""}}}, True),
    ({"localized_texts": {"de_DE": {"title": "Becher"}}}, False),
    ({"localized_texts": {"": {"title": "Becher"}}}, False),
    ({"localized_texts": {"de": {"title": "t" * 1_025}}}, False),
    ({"localized_texts": {f"x{chr(97 + n)}": {"title": "t"} for n in range(26)}}, True),
    ({"localized_texts": {f"{a}{chr(97 + n)}": {"title": "t"} for a in "xy" for n in range(17)}}, False),
    ({"attributes": {"colour": "red", "watts": 9.5, "gift": True, "labels": ["a"]}}, True),
    ({"attributes": {"since": {"time": 5}}}, True),
    ({"attributes": {"since": {"time": 253_402_300_800_000}}}, False),
    ({"attributes": {"Färbe X": "red"}}, False),
    ({"attributes": {"colour": None}}, False),
    ({"attributes": {"colour": "r" * 1_025}}, False),
    ({"attributes": {"labels": ["a"] * 65}}, False),
    ({"attributes": {f"a{number}": 1 for number in range(128)}}, True),
    ({"attributes": {f"a{number}": 1 for number in range(129)}}, False),
]

EVENTS_OF_RULES: list[tuple[Mapping[str, Any], bool]] = [
    ({}, True),
    ({"type": "t" * 64}, True),
    ({"type": "t" * 65}, False),
    ({"type": "Ünï code !"}, False),
    ({"type": "view\n"}, False),
    ({"user_id": "ann\u2028"}, False),
    ({"quantity": 0}, True),
    ({"quantity": 1_000_000}, True),
    ({"quantity": 1_000_001}, False),
    ({"quantity": 1e300}, False),
    ({"quantity": -1}, False),
    ({"price": 1, "currency": "EUR"}, True),
    ({"price": 1, "currency": "eur"}, False),
    ({"value": -1e300}, True),
    ({"time": NOW + 300_000}, True),
    ({"time": NOW + 300_001}, False),
    ({"time": 0}, True),
    ({"time": -1}, False),
    ({"attribution_token": "t" * 2_049}, False),
    ({"attribution_token": "t\0"}, False),
    ({"order_id": "o" * 129}, False),
    ({"properties": {"gift": True, "when": {"time": 5}, "count": 3}}, True),
    ({"properties": {"Gift": True}}, False),
    ({"properties": {f"a{number}": 1 for number in range(64)}}, True),
    ({"properties": {f"a{number}": 1 for number in range(5_000)}}, False),
]


def _attribute(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case bool():
            return {"boolean": value}
        case str():
            return {"text": value}
        case list():
            return {"texts": {"values": value}}
        case {"time": moment}:
            return {"time": _timestamp(moment)}
        case _:
            return {"number": value}


def _timestamp(milliseconds: int) -> dict[str, int]:
    seconds, rest = divmod(milliseconds, 1_000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}


def _set(message: Any, values: Mapping[str, Any]) -> None:
    """Set what the JSON form of a message cannot spell: times beyond the year 9999."""
    for name, value in values.items():
        if name.endswith("time"):
            part = getattr(message, name)
            part.seconds, part.nanos = value["seconds"], value["nanos"]


def _money(row: Mapping[str, Any]) -> dict[str, Any]:
    units = int(row["price"] // 1)
    return {"units": units, "nanos": round((row["price"] - units) * 1e9), "currency_code": row["currency"]}


def _request(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the contract spells it: names and values, but for times."""
    message = {name: value for name, value in row.items() if not name.endswith("time") and name != "currency"}
    if "price" in row:
        message["price"] = _money(row)
    return message


def _fill(message: Any, row: Mapping[str, Any], field: str) -> None:
    """Fill a message with a row."""
    plain = _request(row)
    attributes = plain.pop(field, {})
    ParseDict(plain, message)
    times = {"created_time": "create_time"}
    _set(message, {times.get(name, name): _timestamp(row[name]) for name in row if name.endswith("time")})
    for name, value in attributes.items():
        entry = getattr(message, field)[name]
        written = _attribute(value)
        _set(entry, {key: each for key, each in written.items() if key == "time"})
        ParseDict({key: each for key, each in written.items() if key != "time"}, entry)


def _takes(read: Any) -> bool:
    try:
        read()
    except InvalidInput:
        return False
    return True


def _import_takes(folder: Path, subject: Subject, row: Mapping[str, Any]) -> bool:
    file = folder / f"{subject}.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    report = asyncio.run(check_files(None, "default", [Source(subject, file)], now=NOW))
    return not report.rejected


@pytest.mark.parametrize(("changes", "is_good"), ITEMS_OF_RULES)
def test_an_item_is_good_or_bad_whichever_way_it_comes(
    tmp_path: Path, changes: Mapping[str, Any], is_good: bool
) -> None:
    row = {**ITEM, **changes}
    message = item_pb2.Item(id=row["item_id"])
    _fill(message, {name: value for name, value in row.items() if name != "item_id"}, "attributes")

    def change() -> Item:
        change = item_reader(None)(message, NOW)
        return changed_item(change, None, currency="EUR", checker=AttributeChecker({}))

    assert _takes(change) is is_good
    assert _import_takes(tmp_path, Subject.ITEMS, row) is is_good


@pytest.mark.parametrize(("changes", "is_good"), EVENTS_OF_RULES)
def test_an_event_is_good_or_bad_whichever_way_it_comes(
    tmp_path: Path, changes: Mapping[str, Any], is_good: bool
) -> None:
    row = {**EVENT, **changes}
    message = event_pb2.Event()
    _fill(message, row, "properties")

    assert (
        _takes(lambda: read_event(message, now=NOW, settings=ShopSettings(max_event_age_days=36_500)))
        is is_good
    )
    assert _import_takes(tmp_path, Subject.EVENTS, row) is is_good


@asynccontextmanager
async def _new_database(folder: Path) -> AsyncIterator[tuple[str, Database]]:
    url = f"sqlite:///{folder / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    try:
        async with database.write() as connection:
            await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        yield url, database
    finally:
        await database.close()


@asynccontextmanager
async def _serving(url: str) -> AsyncIterator[AsyncClient]:
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, refresh_seconds=0.05)
    )
    await application.start()
    try:
        async with AsyncClient(f"127.0.0.1:{application.port}") as client:
            yield client
    finally:
        await application.stop()


async def _import(
    database: Database, folder: Path, subject: Subject, rows: list[Any], *, now: int = NOW
) -> ImportReport:
    file = folder / f"{subject}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return await import_files(database, "default", [Source(subject, file)], now=now)


async def test_an_event_that_is_sent_and_imported_is_one_event(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        **EVENT,
        "time": int(time.time() * 1_000),
        "quantity": 0,
        "properties": {"count": 3, "when": {"time": 5}},
    }
    message = event_pb2.Event()
    _fill(message, row, "properties")

    async with _new_database(tmp_path) as (url, database):
        async with _serving(url) as client:
            recorded = await client.record_events([message])
        report = await _import(database, tmp_path, Subject.EVENTS, [row], now=row["time"])

    assert (recorded.accepted_count, report.duplicates, report.rejected) == (1, 1, {})


ODD = [
    {"item_id": "nested", "title": "N", "attributes": {"size": {"w": 1}}},
    {"item_id": "null", "title": "N", "attributes": {"n": None}},
    {"item_id": "name", "title": "N", "attributes": {"Färbe X": "red"}},
    {"item_id": "list", "title": "N", "attributes": {"a": [1, 2, {"x": 1}]}},
    {"item_id": "late", "title": "N", "created_time": 9_000_000_000_000_000_000},
]


async def test_a_server_goes_on_whatever_is_imported_or_stored(tmp_path: Path) -> None:
    good = {"item_id": "mug", "title": "Mug", "attributes": {"since": {"time": 5}}}
    odd = {"size": {"w": 1}, "n": None, "Färbe X": "red", "colour": "red"}

    async with _new_database(tmp_path) as (url, database):
        async with _serving(url) as client:
            report = await _import(database, tmp_path, Subject.ITEMS, [good, *ODD])
            async with database.write() as connection:  # as somebody without these rules would store it
                await connection.execute(update(ITEMS).values(attributes=odd))
            await _import(database, tmp_path, Subject.ITEMS, [{"item_id": "pot", "title": "Pot"}])
            listed = await client.catalog.ListItems(ListItemsRequest())
            got = await client.catalog.GetItem(GetItemRequest(item_id="mug"))
        async with _serving(url) as client:  # which loads the shop anew
            again = await client.catalog.GetItem(GetItemRequest(item_id="mug"))
        manifest = await export_snapshot(database, "default", str(tmp_path / "snapshot"))

    assert (report.items, sum(report.rejected.values())) == (1, 5)
    assert [item.id for item in listed.items] == ["mug", "pot"]
    assert {name: value.text for name, value in got.item.attributes.items()} == {"colour": "red"}
    assert again.item == got.item
    assert manifest.counts["items"] == 2


STORED = Item(
    "mug",
    title="Mug",
    brand="Acme",
    attributes={"colour": "red"},
    price_nanos=5 * 10**9,
    original_price_nanos=8 * 10**9,
    currency="GBP",
    expire_time=NOW + 10,
    created_time=NOW,
)


@pytest.mark.parametrize(
    ("row", "is_good"),
    [
        ({"brand": "Zenith"}, True),
        ({"title": "Cup"}, True),
        ({"title": ""}, False),
        ({"item_id": "pot", "title": "Pot"}, True),
        ({"item_id": "pot", "brand": "Acme"}, False),
        ({"item_id": "pot", "price": 6.5, "currency": "GBP"}, False),
        ({"price": 6.5, "currency": "GBP"}, True),
        ({"price": 6.5, "currency": "EUR"}, False),
        ({"available_time": NOW + 9}, True),
        ({"available_time": NOW + 10}, False),
        ({"attributes": {"size": 5, "fair": True}}, True),
    ],
)
async def test_a_row_and_a_request_that_name_the_same_fields_make_the_same_of_an_item(
    tmp_path: Path, row: Mapping[str, Any], is_good: bool
) -> None:
    row = {"item_id": "mug", **row}
    message = item_pb2.Item(id=row["item_id"])
    _fill(message, {name: value for name, value in row.items() if name != "item_id"}, "attributes")
    read = item_reader(FieldMask(paths=row.keys() - {"item_id", "currency"}))

    made: list[Mapping[str, Item]] = []
    refused: list[int] = []
    for way in ("file", "request"):
        folder = tmp_path / way
        folder.mkdir()
        async with _new_database(folder) as (_, database):
            async with database.write() as connection:
                await upsert_items(connection=connection, shop="default", items=[STORED], now=NOW)
            if way == "file":
                refused.append(sum((await _import(database, folder, Subject.ITEMS, [row])).rejected.values()))
            else:
                written = await write_items(database, Caller("default", NOW, "call"), [message], read)
                refused.append(len(written.rejections))
            async with database.read() as connection:
                made.append(await get_items(connection=connection, shop="default", item_ids=["mug", "pot"]))

    assert refused == ([0, 0] if is_good else [1, 1])
    assert made[0] == made[1]
    assert ({"mug": replace(made[0]["mug"], updated_time=0, revision=0)} == {"mug": STORED}) is (
        not is_good or row["item_id"] == "pot"
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["a", "time", "de", "title"]), values)
    ),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(max_size=3) | st.sampled_from(["a", "b_1", "de"]), _JSON, max_size=3)
_ROWS = st.fixed_dictionaries(
    {"title": st.just("Mug")},
    optional={
        "attributes": _OBJECTS,
        "localized_texts": _OBJECTS,
        "created_time": st.integers(),
        "expire_time": st.integers(),
        "image_uris": _JSON,
        "currency": st.text(max_size=3),
    },
)


@given(rows=st.lists(_ROWS, min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
def test_whatever_objects_a_file_holds_a_shop_is_served(rows: list[dict[str, Any]]) -> None:
    ids = [str(number) for number in range(len(rows))]
    entries = [{"item_id": item_id, **row} for item_id, row in zip(ids, rows, strict=True)]

    async def serve(folder: Path) -> None:
        async with _new_database(folder) as (_, database):
            report = await _import(database, folder, Subject.ITEMS, entries)
            async with database.read() as connection:
                items = await get_items(connection=connection, shop="default", item_ids=ids)
            for item in items.values():
                write_item(item, currency="GBP").SerializeToString()
            loaded = await load_shop(database, "default", now=NOW)
            manifest = await export_snapshot(database, "default", str(folder / "snapshot"))
        assert len(items) == len(loaded.view) == manifest.counts["items"] == report.items
        assert report.items + sum(report.rejected.values()) == len(rows)

    with TemporaryDirectory() as folder:
        asyncio.run(serve(Path(folder)))

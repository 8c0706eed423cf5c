"""Importing files: what is good gets in once, what is bad is named and left out, what is stopped goes on."""

import asyncio
import csv
import json
import signal
import subprocess
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import IMPORTS, USERS
from endcap.catalog.events.events import Event, events_after
from endcap.catalog.importing.importer import (
    ImportStep,
    check_files,
    import_files,
    import_folder,
)
from endcap.catalog.importing.report import ImportReport
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import Layout, Source, find_sources, parse_assignments
from endcap.catalog.items.items import Availability, Item, get_items, upsert_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import forget_user
from endcap.catalog.people.user_records import get_user_records
from endcap.sdk.errors import InvalidInput, NotFound


FORMATS = ("csv", "jsonl", "parquet")
ITEMS: Mapping[str, list[Any]] = {
    "item_id": ["mug", "kettle"],
    "title": ["Mug", "Kettle"],
    "categories": ['["Home", "Gifts"]', None],
    "price": [6.95, None],
    "cost": [1.5, None],
    "available": [True, False],
    "created_time": [5, None],
    "attributes": ['{"colour": "red", "watts": 9.5}', None],
}
EVENTS: Mapping[str, list[Any]] = {
    "user_id": ["ann", None],
    "visitor_id": [None, "phone"],
    "item_id": ["mug", "mug"],
    "type": ["purchase", "view"],
    "time": [10, 11],
    "quantity": [2.0, None],
    "price": [6.95, None],
    "properties": ['{"gift": true}', None],
}


def _write(folder: Path, ending: str = "parquet", **tables: Mapping[str, list[Any]]) -> Path:
    for name, columns in tables.items():
        frame = pl.DataFrame(columns, strict=False)
        file = folder / f"{name}.{ending}"
        match ending:
            case "csv":
                frame.write_csv(file)
            case "jsonl":
                frame.write_ndjson(file)
            case _:
                frame.write_parquet(file)
    return folder


async def _items(database: Database) -> dict[str, Item]:
    async with database.read() as connection:
        return await get_items(connection=connection, shop="default", item_ids=["mug", "kettle", "pot"])


async def _events(database: Database) -> list[Event]:
    async with database.read() as connection:
        return [event for _, event in await events_after(connection=connection, shop="default", revision=0)]


@pytest.mark.parametrize("ending", FORMATS)
async def test_good_rows_are_imported_from_every_format(
    catalog_database: Database, tmp_path: Path, ending: str
) -> None:
    users: Mapping[str, list[Any]] = {"user_id": ["bob"], "created_time": [3], "tags": ["vip|b2b"]}
    users = {**users, "attributes": ['{"floor": 3}'], "language_code": ["de"]}
    folder = _write(tmp_path, ending, items=ITEMS, users=users, events=EVENTS)

    report = await import_folder(catalog_database, "default", folder, now=9, currency="GBP")

    assert report == ImportReport(items=2, users=1, events=2)
    items = await _items(catalog_database)
    assert (items["mug"].price_nanos, items["mug"].currency) == (6_950_000_000, "GBP")
    assert (items["mug"].categories, items["mug"].created_time) == (("Home", "Gifts"), 5)
    assert items["mug"].attributes == {"colour": "red", "watts": 9.5}
    assert (items["kettle"].price_nanos, items["kettle"].availability) == (None, Availability.OUT_OF_STOCK)
    assert items["kettle"].created_time == 9
    purchase, view = await _events(catalog_database)
    assert (purchase.user_id, purchase.quantity, purchase.price_nanos) == ("ann", 2.0, 6_950_000_000)
    assert (purchase.currency, purchase.properties) == ("GBP", {"gift": True})
    assert (view.user_id, view.visitor_id, view.quantity, view.currency) == (None, "phone", 1.0, "")
    async with catalog_database.read() as connection:
        stored = await connection.execute(select(USERS.c.id, USERS.c.created_time).order_by(USERS.c.id))
        assert [tuple(row) for row in stored] == [("ann", 10), ("bob", 3)]
        records = await get_user_records(connection=connection, shop="default", user_ids=["ann", "bob"])
    assert list(records) == ["bob"]
    assert (records["bob"].tags, records["bob"].language_code) == (("vip", "b2b"), "de")
    assert (records["bob"].attributes, records["bob"].created_time) == ({"floor": 3}, 3)


@pytest.mark.parametrize("ending", FORMATS)
async def test_a_file_that_is_imported_again_adds_its_new_lines_only(
    catalog_database: Database, tmp_path: Path, ending: str
) -> None:
    await import_folder(catalog_database, "default", _write(tmp_path, ending, events=EVENTS), now=9)
    grown = {name: [*values, values[0]] for name, values in EVENTS.items()}

    again = await import_folder(catalog_database, "default", tmp_path, now=9)
    more = await import_folder(catalog_database, "default", _write(tmp_path, ending, events=grown), now=9)

    assert (again.events, again.duplicates, again.resumed) == (0, 2, False)
    assert (more.events, more.duplicates) == (1, 2)


async def test_an_import_that_is_done_can_be_repeated(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, items=ITEMS)
    await import_folder(catalog_database, "default", folder, now=9)
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug", "Cup")], now=9)

    await import_folder(catalog_database, "default", folder, now=9)

    assert (await _items(catalog_database))["mug"].title == "Mug"


BAD_EVENTS: Mapping[str, list[Any]] = {
    "user_id": ["ann", "", None, "bob", "bob", "bob", "bob", "bob", "bob"],
    "item_id": ["mug"] * 7 + ["m" * 129, "mug"],
    "type": ["view"] * 9,
    "time": ["10", "10", "10", "yesterday", "-1", "10", "10", "10", "2999-01-01"],
    "value": ["4.5", None, None, None, None, "nan", None, None, None],
    "event_id": ["a", "b", "c", "d", "e", "f", "a", "h", "i"],
}


@pytest.mark.parametrize("ending", FORMATS)
async def test_a_bad_cell_costs_its_row_and_nothing_else(
    catalog_database: Database, tmp_path: Path, ending: str
) -> None:
    bad_items = {"item_id": ["mug", "kettle"], "title": ["Mug", "Kettle"], "price": ["-1", "6.95"]}
    folder = _write(tmp_path, ending, items=bad_items, events=BAD_EVENTS)
    rejects = tmp_path / "rejected.csv"

    report = await import_files(catalog_database, "default", find_sources(folder), now=1_000, rejects=rejects)

    assert list(await _items(catalog_database)) == ["kettle"]
    assert (report.items, report.events) == (1, 1)
    with rejects.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    header = 1 if ending == "csv" else 0  # counts as a line
    time = "a time: write Unix milliseconds, or 2026-01-31T12:00:00Z"
    assert [(row["file"], int(row["line"]) - header, row["reason"]) for row in rows] == [
        (f"items.{ending}", 1, "price is not an amount of money"),
        (f"events.{ending}", 2, "user_id and visitor_id are missing"),
        (f"events.{ending}", 3, "user_id and visitor_id are missing"),
        (f"events.{ending}", 4, f"time is not {time}"),
        (f"events.{ending}", 5, "time lies before 1970"),
        (f"events.{ending}", 6, "value is not a finite number"),
        (f"events.{ending}", 8, "item_id has more than 128 characters"),
        (f"events.{ending}", 9, "time lies in the future"),
        (f"events.{ending}", 7, "event_id belongs to another event"),
    ]
    assert json.loads(rows[3]["row"])["time"] == "yesterday"
    assert sum(report.rejected.values()) == len(rows)
    assert report.rejected[f"events.{ending}: user_id and visitor_id are missing"] == 2


async def test_files_may_call_columns_as_they_like(catalog_database: Database, tmp_path: Path) -> None:
    invoices = tmp_path / "invoices.csv"
    invoices.write_text(
        "Invoice;StockCode;Description;Quantity;InvoiceDate;Price;Customer\n"
        "489434;85048;Lights;12;2009-12-01 07:45:00;6.95;13085\n",
        encoding="utf-8",
    )
    names = ["item_id=StockCode", "price=Price", "items.title=Description", "time=InvoiceDate"]
    names += ["user_id=Customer", "order_id=Invoice", "quantity=Quantity"]
    layout = Layout(
        parse_assignments([name for name in names if not name.startswith("user_id")]),
        parse_assignments(["type=purchase", "events.user_id=ann"]),
    )

    await import_files(
        catalog_database,
        "default",
        [Source(subject, invoices) for subject in (Subject.ITEMS, Subject.EVENTS)],
        now=2_000_000_000_000,
        layout=layout,
    )

    (event,) = await _events(catalog_database)
    assert (event.item_id, event.type, event.user_id, event.order_id) == (
        "85048",
        "purchase",
        "ann",
        "489434",
    )
    assert (event.time, event.quantity, event.price_nanos) == (1_259_653_500_000, 12.0, 6_950_000_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item_id", "'item_id' is not an assignment"),
        ("item_id=", "is not an assignment"),
        ("itemid=sku", "column 'itemid' does not exist: choose among item_id, title"),
        (
            "users.item_id=sku",
            "column 'users.item_id' does not exist: choose among user_id, tags, language_code",
        ),
        ("orders.item_id=sku", "column 'orders.item_id' does not exist"),
    ],
)
def test_a_column_that_no_import_knows_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_assignments([text])


def test_what_is_particular_goes_before_what_is_general() -> None:
    names = parse_assignments(["events.item_id=product", "item_id=sku"])

    assert (names[Subject.ITEMS], names[Subject.EVENTS]) == ({"item_id": "sku"}, {"item_id": "product"})
    assert names[Subject.USERS] == {}


async def test_what_is_missing_is_named_with_what_is_there(
    catalog_database: Database, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="holds no file named items, users or events"):
        await import_folder(catalog_database, "default", tmp_path, now=9)

    events = {"user_id": ["ann"], "item_id": ["mug"], "type": ["view"]}
    folder = _write(tmp_path, items=ITEMS, events=events)
    with pytest.raises(
        InvalidInput, match="no column 'time': it has 'user_id', 'item_id', 'type'; map one of these"
    ):
        await import_folder(catalog_database, "default", folder, now=9)
    assert await _items(catalog_database) == {}

    layout = Layout(names=parse_assignments(["time=when"]))
    with pytest.raises(InvalidInput, match="no column 'when' for time: it has 'user_id', 'item_id', 'type'"):
        await check_files(None, "default", find_sources(folder), now=9, layout=layout)

    _write(tmp_path, "csv", items=ITEMS)
    with pytest.raises(InvalidInput, match=r"holds items\.csv and items\.parquet: name one with --items"):
        find_sources(tmp_path)


async def test_a_user_who_was_deleted_does_not_come_back(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, users={"user_id": ["ann", "bob"]}, events=EVENTS)
    await import_folder(catalog_database, "default", folder, now=9)
    await forget_user(catalog_database, "default", People(users=frozenset({"ann"})))

    report = await import_folder(catalog_database, "default", folder, now=9)

    assert (report.events, report.duplicates) == (0, 1)
    assert report.rejected == {
        "users.parquet: the user was deleted: do not send this user again": 1,
        "events.parquet: the user was deleted: do not send this user again": 1,
    }
    assert report.users == 1
    async with catalog_database.read() as connection:
        users = select(USERS.c.id).where(USERS.c.shop == "default")
        assert (await connection.execute(users)).scalars().all() == ["bob"]


async def test_a_shop_that_is_missing_is_named(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, users={"user_id": ["ann"]})

    with pytest.raises(NotFound, match="shop 'elsewhere' does not exist"):
        await import_folder(catalog_database, "elsewhere", folder, now=9)


async def test_steps_tell_how_far_every_file_is(catalog_database: Database, tmp_path: Path) -> None:
    folder = _write(tmp_path, "csv", items=ITEMS, events=EVENTS)
    steps: list[ImportStep] = []

    await import_files(catalog_database, "default", find_sources(folder), now=9, tell=steps.append)

    assert [(step.source.subject, step.share, step.lines) for step in steps] == [
        (Subject.ITEMS, 1.0, 3),
        (Subject.EVENTS, 1.0, 3),
    ]


async def test_a_check_says_what_an_import_would_do_and_stores_nothing(
    catalog_database: Database, tmp_path: Path
) -> None:
    good_events = {name: values[:6] for name, values in BAD_EVENTS.items()}
    sources = find_sources(_write(tmp_path, items=ITEMS, events=good_events))

    checked = await check_files(None, "default", sources, now=9, rejects=tmp_path / "checked.csv")
    before = (await _items(catalog_database), await _events(catalog_database))
    imported = await import_files(
        catalog_database, "default", sources, now=9, rejects=tmp_path / "imported.csv"
    )

    assert before == ({}, [])
    assert checked == imported
    assert (tmp_path / "checked.csv").read_bytes() == (tmp_path / "imported.csv").read_bytes()


async def test_only_a_file_of_rejected_rows_is_written_over(tmp_path: Path) -> None:
    sources = find_sources(_write(tmp_path, "csv", events=BAD_EVENTS))
    rejects = tmp_path / "rejects.csv"

    await check_files(None, "default", sources, now=9, rejects=rejects)
    first = rejects.read_bytes()
    await check_files(None, "default", sources, now=9, rejects=rejects)

    assert rejects.read_bytes() == first
    with pytest.raises(InvalidInput, match=r"events\.csv is not a file of rejected rows"):
        await check_files(None, "default", sources, now=9, rejects=tmp_path / "events.csv")


_CELLS = st.text(max_size=6) | st.sampled_from(
    ["1", "-1", "1e400", "2010-12-01", "[", "{}", '"', '["a"]', "\ud800"]
)
_LINES = st.one_of(
    st.binary(max_size=40),
    st.lists(_CELLS, min_size=5, max_size=5).map(
        lambda cells: ",".join(cells).encode(errors="surrogatepass")
    ),
    st.fixed_dictionaries({name: _CELLS | st.none() | st.floats() | st.integers() for name in EVENTS}).map(
        lambda row: json.dumps(row).encode()
    ),
)


@given(lines=st.lists(_LINES, max_size=8), ending=st.sampled_from(["csv", "jsonl"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_whatever_lines_hold_each_is_a_row_or_rejected(
    tmp_path: Path, lines: list[bytes], ending: str
) -> None:
    file = tmp_path / f"events.{ending}"
    header = b"item_id,type,time,user_id,properties\n" if ending == "csv" else b""
    content = header + b"\n".join(lines)
    assume(not content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)))  # such a file is refused whole
    file.write_bytes(content)

    report = asyncio.run(check_files(None, "default", [Source(Subject.EVENTS, file)], now=2_000_000_000_000))

    assert report.events + sum(report.rejected.values()) <= file.read_bytes().count(b"\n") + 1


_IMPORT_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from endcap.catalog.importing import importer
from endcap.catalog.database.engine import open_database
from endcap.catalog.importing.sources import find_sources
from endcap.catalog.importing.table_files import csv_file

url, folder, rejects, saves = sys.argv[1:]
csv_file.CHUNK_SIZE = 5
left = int(saves)
save_progress = importer.save_progress

async def save_or_die(**arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    await save_progress(**arguments)

importer.save_progress = save_or_die

async def main():
    database = await open_database(url)
    await importer.import_files(
        database, "default", find_sources(Path(folder)), now=1_000, rejects=Path(rejects)
    )
    await database.close()

asyncio.run(main())
"""


async def test_an_import_that_is_killed_goes_on_and_doubles_nothing(
    catalog_database: Database, catalog_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    events = {
        "user_id": [f"user-{number % 7}" for number in range(23)],
        "item_id": ["mug"] * 23,
        "type": ["view"] * 23,
        "time": ["never" if number % 6 == 0 else str(number) for number in range(23)],
    }
    _write(folder, "csv", items=ITEMS, events=events)
    whole = await check_files(
        None, "default", find_sources(folder), now=1_000, rejects=tmp_path / "whole.csv"
    )
    rejects = tmp_path / "rejects.csv"

    statuses = []
    for saves in (3, 2, 3):  # of items and events, then of events only: five chunks of these in all
        command = [sys.executable, "-c", _IMPORT_AND_DIE, catalog_url, str(folder), str(rejects), str(saves)]
        statuses.append(subprocess.run(command, check=False).returncode)
    async with catalog_database.read() as connection:
        lines = (await connection.execute(select(IMPORTS.c.line).order_by(IMPORTS.c.line))).scalars().all()
    report = await import_files(catalog_database, "default", find_sources(folder), now=1_000, rejects=rejects)

    assert statuses == [-signal.SIGKILL] * 3
    assert lines == [3, 21]  # of two items and a header; of twenty events and one
    assert report == ImportReport(2, 0, 19, rejected=whole.rejected, resumed=True)
    assert [event.time for event in await _events(catalog_database)] == [
        number for number in range(23) if number % 6
    ]
    assert rejects.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    async with catalog_database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(IMPORTS))).scalar() == 0


async def test_a_file_that_was_changed_begins_again(
    catalog_database: Database, catalog_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    events = {name: values * 10 for name, values in EVENTS.items()}
    _write(folder, "csv", events=events)
    command = [sys.executable, "-c", _IMPORT_AND_DIE, catalog_url, str(folder), str(tmp_path / "r.csv"), "3"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    _write(folder, "csv", events={name: values * 11 for name, values in EVENTS.items()})

    report = await import_folder(catalog_database, "default", folder, now=1_000)

    assert (report.events, report.duplicates, report.resumed) == (12, 10, False)


@pytest.mark.parametrize("ending", FORMATS)
async def test_events_have_a_query_a_cost_and_an_event_that_they_take_back(
    catalog_database: Database, tmp_path: Path, ending: str
) -> None:
    events: Mapping[str, list[Any]] = {
        "event_id": ["search", "bought", "back", "lost", "bare", "long"],
        "user_id": ["ann"] * 6,
        "item_id": [None, "mug", "mug", "mug", None, "mug"],
        "type": ["search", "purchase", "refund", "refund", "view", "view"],
        "time": [1, 2, 3, 4, 5, 6],
        "query": ["pot", None, None, None, None, "x" * 257],
        "unit_cost": [None, 1.25, None, None, None, None],
        "currency": [None, "EUR", None, None, None, None],
        "reversed_event_id": [None, None, "bought", "nothing", None, None],
    }
    folder = _write(tmp_path, ending, events=events)
    rejects = tmp_path / "rejects.csv"
    sources = find_sources(folder)

    checked = await check_files(None, "default", sources, now=9)
    report = await import_files(catalog_database, "default", sources, now=9, rejects=rejects)

    assert (checked.events, report.events) == (4, 3)
    with rejects.open() as file:
        reasons = [row["reason"] for row in csv.DictReader(file)]
    assert sorted(reasons) == [
        "item_id is missing",
        "query has more than 256 characters",
        "reversed_event_id is of no earlier event of the same user and item",
    ]
    search, bought, back = await _events(catalog_database)
    assert (search.item_id, search.query) == ("", "pot")
    assert (bought.unit_cost_nanos, bought.price_nanos, bought.currency) == (1_250_000_000, None, "EUR")
    assert back.reversed_event_id == "bought"
    again = await import_files(catalog_database, "default", sources, now=9)
    assert (again.events, again.duplicates) == (0, 3)

"""Importing into a shop that has something already: what a file does not say stays."""

import json
from pathlib import Path
from typing import Any

import pytest

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.importing.importer import check_files, import_files
from endcap.catalog.importing.progress import FileProgress, save_progress
from endcap.catalog.importing.report import ImportReport
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import AS_IT_IS, Layout, Source, fingerprint, parse_assignments
from endcap.catalog.importing.table_files.table_file import Position
from endcap.catalog.items.items import Availability, Item, get_items, upsert_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import forget_user
from endcap.catalog.people.user_records import UserRecord, get_user_records, upsert_user_records


MUG = Item(
    "mug",
    "Mug",
    description="Holds tea.",
    localized_texts={"de": {"title": "Becher"}},
    tags=("red",),
    attributes={"litres": 0.3},
    price_nanos=6_000_000_000,
    cost_nanos=2_000_000_000,
    currency="EUR",
    availability=Availability.PREORDER,
    available_time=5,
    created_time=3,
)


@pytest.fixture
async def shop_with_a_mug(catalog_database: Database) -> Database:
    """A database of which the shop sells a mug."""
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[MUG], now=4)
    return catalog_database


async def _import(
    database: Database, file: Path, text: str, *, layout: Layout = AS_IT_IS, **options: Any
) -> ImportReport:
    file.write_text(text, encoding="utf-8")
    source = Source(Subject(file.name.partition(".")[0]), file)
    return await import_files(database, "default", [source], now=9, layout=layout, **options)


async def _item(database: Database, item_id: str = "mug") -> Item:
    async with database.read() as connection:
        return (await get_items(connection=connection, shop="default", item_ids=[item_id]))[item_id]


def _said(item: Item) -> dict[str, Any]:
    """Return what was said of an item."""
    return {name: getattr(item, name) for name in Item.__slots__ if name not in {"updated_time", "revision"}}


async def test_a_file_of_prices_changes_prices_alone(shop_with_a_mug: Database, tmp_path: Path) -> None:
    report = await _import(shop_with_a_mug, tmp_path / "items.csv", "item_id,price\nmug,6.95\npot,3\n")

    assert report.items == 1
    assert report.rejected == {"items.csv: title is missing": 1}  # of the pot, which is new
    assert _said(await _item(shop_with_a_mug)) == _said(MUG) | {"price_nanos": 6_950_000_000}


async def test_an_empty_cell_empties_what_is_stored(shop_with_a_mug: Database, tmp_path: Path) -> None:
    text = (
        "item_id,price,tags,available_time,created_time,attributes,localized_texts,availability\nmug,,,,,,,\n"
    )

    await _import(shop_with_a_mug, tmp_path / "items.csv", text)

    assert _said(await _item(shop_with_a_mug)) == _said(MUG) | {
        "price_nanos": None,
        "tags": (),
        "available_time": None,
        "attributes": {},
        "localized_texts": {},
        "availability": Availability.IN_STOCK,
    }


async def test_an_object_has_the_columns_that_it_names(shop_with_a_mug: Database, tmp_path: Path) -> None:
    rows = [
        {"item_id": "pot", "title": "Pot", "tags": ["new"]},
        {"item_id": "pot", "brand": "Acme"},  # changes the line before
        {"item_id": "mug", "tags": None},
        {"item_id": "mug", "title": None},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)

    report = await _import(shop_with_a_mug, tmp_path / "items.jsonl", text)

    pot = await _item(shop_with_a_mug, "pot")
    assert (pot.title, pot.brand, pot.tags) == ("Pot", "Acme", ("new",))
    assert _said(await _item(shop_with_a_mug)) == _said(MUG) | {"tags": ()}
    assert report.rejected == {"items.jsonl: title is missing": 1}


async def test_texts_in_other_languages_are_imported(shop_with_a_mug: Database, tmp_path: Path) -> None:
    texts = {"fr": {"title": "Tasse", "description": ""}, "de": {"title": "Becher", "description": "Rot."}}

    await _import(
        shop_with_a_mug,
        tmp_path / "items.jsonl",
        json.dumps({"item_id": "mug", "localized_texts": texts}),
    )

    assert (await _item(shop_with_a_mug)).localized_texts == {
        "fr": {"title": "Tasse"},
        "de": {"title": "Becher", "description": "Rot."},
    }


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        (
            "item_id,price,currency\nmug,5,GBP\n",
            "",
            "currency differs from that of the stored cost: write both",
        ),
        ("item_id,price\nmug,5\n", "GBP", "currency differs from that of the stored cost: write both"),
        ("item_id,expire_time\nmug,5\n", "", "expire_time must be later than available_time"),
    ],
)
async def test_what_does_not_fit_what_is_stored_is_rejected(
    shop_with_a_mug: Database, tmp_path: Path, text: str, currency: str, reason: str
) -> None:
    report = await _import(shop_with_a_mug, tmp_path / "items.csv", text, currency=currency)

    assert report.rejected == {f"items.csv: {reason}": 1}
    assert _said(await _item(shop_with_a_mug)) == _said(MUG)


async def test_what_a_file_does_not_say_of_users_stays(catalog_database: Database, tmp_path: Path) -> None:
    ann = UserRecord("ann", tags=("vip",), attributes={"floor": 3.0}, created_time=2)
    async with catalog_database.write() as connection:
        await upsert_user_records(connection=connection, shop="default", records=[ann], now=3)

    await _import(catalog_database, tmp_path / "users.csv", "user_id,language_code\nann,de\nbob,\n")

    async with catalog_database.read() as connection:
        records = await get_user_records(connection=connection, shop="default", user_ids=["ann", "bob"])
    assert (records["ann"].tags, records["ann"].attributes) == (("vip",), {"floor": 3.0})
    assert (records["ann"].language_code, records["ann"].created_time) == ("de", 2)
    assert records["bob"].created_time == 9


@pytest.mark.parametrize("is_dry", [True, False])
async def test_columns_that_are_not_read_are_named(
    catalog_database: Database, tmp_path: Path, is_dry: bool
) -> None:
    file = tmp_path / "shop.csv"
    file.write_text(
        "sku,title,catagories,Image-URIs,zzz,time,user_id\nmug,Mug,a,,b,5,ann\n", encoding="utf-8"
    )
    sources = [Source(subject, file) for subject in (Subject.ITEMS, Subject.EVENTS)]
    layout = Layout(parse_assignments(["item_id=sku"]), parse_assignments(["type=view"]))

    run = check_files if is_dry else import_files
    report = await run(catalog_database, "default", sources, now=9, layout=layout)

    assert report.notes == (
        "shop.csv: not read: 'catagories' (is it categories?), 'Image-URIs' (is it image_uris?), 'zzz'",
    )


async def test_a_dry_run_looks_at_what_is_stored(shop_with_a_mug: Database, tmp_path: Path) -> None:
    async with shop_with_a_mug.write() as connection:
        event = Event("1", "view", "mug", 5, user_id="eve")
        await store_events(connection=connection, shop="default", events=[event])
    await forget_user(shop_with_a_mug, "default", People(users=frozenset({"ann"})), allow_missing=True)
    files = {
        Subject.ITEMS: "item_id,price\nmug,5\npot,5\n",
        Subject.USERS: "user_id\nann\nbob\n",
        Subject.EVENTS: "event_id,item_id,type,time,user_id\n"
        "1,mug,view,5,eve\n1,mug,view,6,eve\n2,mug,view,5,ann\n"
        "3,mug,view,5,bob\n3,mug,view,5,bob\n3,mug,view,6,bob\n",
    }
    sources = []
    for subject, text in files.items():
        (tmp_path / f"{subject}.csv").write_text(text, encoding="utf-8")
        sources.append(Source(subject, tmp_path / f"{subject}.csv"))

    checked = await check_files(shop_with_a_mug, "default", sources, now=9)
    stored = await _item(shop_with_a_mug)
    imported = await import_files(shop_with_a_mug, "default", sources, now=9)

    assert _said(stored) == _said(MUG)
    assert checked == imported
    assert (checked.items, checked.users, checked.events, checked.duplicates) == (1, 1, 1, 2)
    assert checked.rejected == {
        "items.csv: title is missing": 1,
        "users.csv: the user was deleted: do not send this user again": 1,
        "events.csv: event_id belongs to another event": 2,
        "events.csv: the user was deleted: do not send this user again": 1,
    }


async def test_a_dry_run_takes_a_shop_that_is_missing_for_an_empty_one(
    catalog_database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "items.csv"
    file.write_text("item_id,title\nmug,Mug\npot,\n", encoding="utf-8")

    report = await check_files(catalog_database, "new", [Source(Subject.ITEMS, file)], now=9)

    assert (report.items, report.rejected) == (1, {"items.csv: title is missing": 1})


async def test_an_import_that_goes_on_says_that_rejected_rows_are_lost(
    catalog_database: Database, tmp_path: Path
) -> None:
    file, rejects = tmp_path / "items.csv", tmp_path / "items.rejects.csv"
    file.write_text("item_id,title\n,Mug\npot,Pot\n", encoding="utf-8")
    async with catalog_database.write() as connection:  # as if it had been stopped after the first row
        await save_progress(
            connection=connection,
            shop="default",
            file=fingerprint(Source(Subject.ITEMS, file), AS_IT_IS, ""),
            progress=FileProgress(Position(19, 2), rejected={"item_id is missing": 1}, rejects_size=70),
        )

    report = await import_files(
        catalog_database, "default", [Source(Subject.ITEMS, file)], now=9, rejects=rejects
    )

    assert (report.items, report.resumed, report.rejected) == (1, True, {"items.csv: item_id is missing": 1})
    assert report.notes == (f"{rejects} lacks rows that were rejected before the import was stopped",)

"""The migrations and the tables say the same."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, text, update

from endcap.catalog.configuration.audit_log import PlacementChange, record_change
from endcap.catalog.configuration.bundles import RegisteredBundle, activate_bundle, register_bundle
from endcap.catalog.configuration.placements import Placement, RungSpec, get_placement, put_placement
from endcap.catalog.configuration.shop_changes import ShopChange, record_shop_change
from endcap.catalog.configuration.shop_settings import EventRole, EventType, ValueRule
from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database import migrations
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.tables import EXPOSURES, ITEM_TEXTS, ITEMS, METADATA, SHOPS
from endcap.catalog.events.events import Event, Outcome
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import ExposedItem, Exposure, unit_digest
from endcap.catalog.events.storing import store_events
from endcap.catalog.importing.progress import FileProgress, save_progress
from endcap.catalog.items.items import Item, get_items, upsert_items
from endcap.catalog.items.search import search_items
from endcap.catalog.people.deleted_people import People, remember_deleted
from endcap.catalog.people.user_records import UserRecord, upsert_user_records
from endcap.sdk import Task
from endcap.sdk.errors import FailedPrecondition


_DIE_BEFORE_THE_COMMIT = """
import asyncio, os, sys
from alembic import command
from endcap.catalog.database.migration import migrate
upgrade = command.upgrade
command.upgrade = lambda *arguments: (upgrade(*arguments), os._exit(9))
asyncio.run(migrate(sys.argv[1]))
"""


def _exit_status_of_a_dying_migration(url: str) -> int:
    return subprocess.run([sys.executable, "-c", _DIE_BEFORE_THE_COMMIT, url], check=False).returncode


async def test_migrations_lead_to_the_tables(catalog_database: Database) -> None:
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        """SQLite keeps what it indexes for a search in tables of its own, PostgreSQL in a column."""
        return (kind, name) not in {("column", "words"), ("index", "item_texts_words")} and not (
            kind == "table" and str(name).startswith("item_words")
        )

    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        return compare_metadata(context, METADATA)

    async with catalog_database.read() as connection:
        assert await connection.run_sync(differences) == []


def test_the_newest_revision_is_the_one_this_release_names() -> None:
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])

    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


async def test_migrating_again_changes_nothing(full_url: str) -> None:
    before = await _contents(full_url)

    await migrate(full_url)

    assert await _contents(full_url) == before


async def test_a_newer_schema_is_left_alone(catalog_database: Database, catalog_url: str) -> None:
    async with catalog_database.write() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(FailedPrecondition, match="newer release"):
        await migrate(catalog_url)


async def test_a_migration_that_dies_on_the_way_leaves_nothing_behind(empty_url: str) -> None:
    assert _exit_status_of_a_dying_migration(empty_url) == 9
    with pytest.raises(FailedPrecondition, match="no schema"):
        await open_database(empty_url)
    await migrate(empty_url)
    await (await open_database(empty_url)).close()


def _shop(shop: str) -> dict[str, object]:
    settings: dict[str, object] = {"event_weights": {}}
    return {
        "id": shop,
        "currency": "",
        "settings": settings,
        "token_key": b"0",
        "revision": 7,
        "created_time": 1,
    }


def _item(shop: str, item_id: str, position: int, title: str, *, deleted: bool = False) -> dict[str, object]:
    texts = {"title": title, "description": "", "language_code": "", "brand": "Acme", "group_id": ""}
    lists = {"categories": ["Kitchen"], "tags": [], "image_uris": []}
    maps = {"localized_texts": {"de": {"title": "Kanne"}}, "attributes": {}}
    return {
        "shop": shop,
        "id": item_id,
        "position": position,
        "currency": "",
        "availability": "in_stock",
        "created_time": 1,
        "updated_time": 1,
        "deleted": deleted,
        "revision": 7,
        **texts,
        **lists,
        **maps,
    }


@pytest.fixture
async def url_before_search(empty_url: str) -> str:
    """A database without an index for search: a shop of more items than one batch holds, and a small one."""
    await migrate(empty_url, target="0003")
    items = [_item("large", f"{number:05}", number, f"pot {number}") for number in range(5_002)]
    items += [
        _item("small", "a", 0, "pot"),
        _item("small", "b", 1, "pot", deleted=True),
        _item("small", "c", 2, "cup"),
    ]
    database = Database(empty_url)
    async with database.write() as connection:
        await connection.execute(insert(SHOPS), [_shop("large"), _shop("small")])
        await connection.execute(insert(ITEMS), items)
    await database.close()
    return empty_url


async def test_titles_that_were_joined_are_told_apart(url_before_search: str) -> None:
    await migrate(url_before_search, target="0007")
    joined = {"shop": "small", "position": 0, "title": "pot kanne", "labels": "", "description": ""}
    database = Database(url_before_search)
    async with database.write() as connection:
        await connection.execute(
            delete(ITEM_TEXTS).where(ITEM_TEXTS.c.shop == "small", ITEM_TEXTS.c.position == 0)
        )
        await connection.execute(insert(ITEM_TEXTS), joined)
    await database.close()

    await migrate(url_before_search)

    texts = (await _contents(url_before_search))["item_texts"]
    assert len(texts) == 5_004
    assert {(row["title"], row["labels"]) for row in texts if row["shop"] == "small"} == {
        ("pot\nkanne", "acme kitchen"),
        ("cup\nkanne", "acme kitchen"),
    }


async def test_items_that_were_there_before_are_found_by_search(url_before_search: str) -> None:
    await migrate(url_before_search)

    database = await open_database(url_before_search)
    async with database.read() as connection:
        found = {
            (shop, text): [
                match.position
                for match in await search_items(
                    connection=connection, shop=shop, text=text, allowed=np.ones(6_000, np.bool_), limit=6_000
                )
            ]
            for shop, text in (
                ("large", "kitchen"),
                ("large", "pot 5001"),
                ("small", "pot"),
                ("small", "kanne"),
                ("small", "acme"),
            )
        }
    await database.close()

    assert sorted(found["large", "kitchen"]) == list(range(5_002))
    assert found["large", "pot 5001"][0] == 5_001
    assert found["small", "pot"] == [0]
    assert found["small", "kanne"] == found["small", "acme"] == [0, 2]


async def test_shops_that_were_there_before_get_a_placement_that_searches(url_before_search: str) -> None:
    await migrate(url_before_search)

    database = await open_database(url_before_search)
    async with database.read() as connection:
        placement = await get_placement(connection=connection, shop="small", placement_id="search")
    await database.close()

    assert placement.task is Task.SEARCH
    assert [rung.strategy for rung in placement.ladder] == ["search", "popular"]


async def test_exposures_that_were_there_before_are_packed_and_back(empty_url: str) -> None:
    def item(item_id: str, strategy: str, bundle: str = "", chance: float | None = None) -> dict[str, object]:
        return {"item_id": item_id, "strategy": strategy, "bundle": bundle, "log_propensity": chance}

    first = [item("mug", "ease", "ease@1", -0.5), item("tea", "ease", "ease@1"), item("cup", "popular")]
    second = [item("pot", "popular")]
    lists = [  # request, user, visitor, items
        ("r1", "ann", None, first),
        ("r2", None, "phone", second),
        ("r1", "ann", None, second),
        ("r1", "ann", None, first),
        ("r1", "ben", "phone", second),
        ("r1", None, None, second),
    ]
    await migrate(empty_url, target="0009")
    database = Database(empty_url)
    async with database.write() as connection:
        await connection.execute(insert(SHOPS), [_shop("small")])
        for time, (request_id, user_id, visitor_id, items) in enumerate(lists):
            values = {"user_id": user_id, "visitor_id": visitor_id, "time": time, "items": json.dumps(items)}
            await connection.execute(
                text(
                    "INSERT INTO exposures (shop, request_id, placement, user_id, visitor_id, time,"
                    " experiment, variant, view, bundles, items, degraded)"
                    " VALUES ('small', :request_id, 'home', :user_id, :visitor_id, :time,"
                    " 'ranking', 'new', 'v', '{}', :items, '[]')"
                ),
                {"request_id": request_id, **values},
            )
    await database.close()
    before = await _contents(empty_url)

    await migrate(empty_url)

    database = await open_database(empty_url)
    async with database.read() as connection:
        found = await connection.execute(select(EXPOSURES).order_by(EXPOSURES.c.sequence))
        rows = list(found.mappings())
    await database.close()
    assert [(row["page"], row["superseded"]) for row in rows] == [
        (0, False),
        (0, False),
        (3, False),  # the second page
        (0, True),  # the first page once more
        (0, False),
        (0, False),
    ]
    units = [unit_digest(b"0", user_id, visitor_id) for _, user_id, visitor_id, _ in lists]
    assert [row["unit"] for row in rows] == units
    assert rows[0]["item_ids"] == ["mug", "tea", "cup"]
    assert rows[0]["sources"] == [["ease", "ease@1", 2], ["popular", "", 1]]
    assert rows[0]["log_propensities"] == [-0.5, None, None]
    assert rows[0]["assignments"] == [["ranking", "new", 1.0]]
    assert (rows[1]["log_propensities"], rows[1]["candidates"]) == ([], b"")

    await migrate(empty_url, target="0009")
    after = await _contents(empty_url)

    assert after["exposures"] == before["exposures"]
    assert [each["indexes"] for each in after[""] if each.get("table") == "exposures"] == [
        each["indexes"] for each in before[""] if each.get("table") == "exposures"
    ]


async def test_tokens_of_events_that_were_there_before_are_unchecked(empty_url: str) -> None:
    await migrate(empty_url, target="0010")
    database = Database(empty_url)
    async with database.write() as connection:
        await connection.execute(insert(SHOPS), [_shop("small")])
        for event_id, token in (("with", "token"), ("without", "")):
            await connection.execute(
                text(
                    "INSERT INTO events (shop, event_id, type, user_id, item_id, time, quantity, currency,"
                    " attribution_token, order_id, properties, revision)"
                    " VALUES ('small', :event_id, 'view', 'ann', 'mug', 1, 1, '', :token, '', '{}', 1)"
                ),
                {"event_id": event_id, "token": token},
            )
    await database.close()

    await migrate(empty_url)

    events = (await _contents(empty_url))["events"]
    assert [event["attribution"] for event in events] == ["unchecked", "none"]


async def _contents(url: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of every table by its name, and under ``""`` what the schema looks like."""

    def read(connection: Connection) -> dict[str, list[dict[str, object]]]:
        found = inspect(connection)
        names = sorted(name for name in found.get_table_names() if not name.startswith("item_words"))
        contents: dict[str, list[dict[str, object]]] = {"": []}
        for name in names:
            columns = [
                (column["name"], str(column["type"]), column["nullable"])
                for column in found.get_columns(name)
            ]
            indexes = sorted((index["name"], index["unique"]) for index in found.get_indexes(name))
            contents[""].append({"table": name, "columns": columns, "indexes": indexes})
            keys = ", ".join(found.get_pk_constraint(name)["constrained_columns"])
            rows = connection.execute(text(f"SELECT * FROM {name} ORDER BY {keys}")).mappings()
            contents[name] = [{key: str(value) for key, value in row.items()} for row in rows]
        if connection.dialect.name == "sqlite":
            every = connection.execute(text("SELECT name FROM sqlite_master ORDER BY name")).scalars()
            contents[""] += [{"name": name} for name in every]
        return contents

    database = Database(url)
    async with database.read() as connection:
        contents = await connection.run_sync(read)
    await database.close()
    return contents


@pytest.fixture
async def full_url(catalog_database: Database, catalog_url: str, catalog_event: Callable[..., Event]) -> str:
    """A database with something in every table."""
    bundle = RegisteredBundle("ease", "1", "ease/1", {"items": 1}, "0" * 64, 1, 1, 1)
    shelf = Placement("shelf", Task.TRENDING, (RungSpec("popular"),))
    exposure = Exposure("default", "r1", 1, "home", "v1", {"ease": "1"}, (ExposedItem("mug", "ease"),), "ann")
    log = ExposureLog(catalog_database)
    log.record(exposure)
    await log.close()
    async with catalog_database.write() as connection:
        items = [
            Item("mug", title="Mug", categories=("Kitchen",), attributes={"size": "M"}),
            Item("tea", title="Tea"),
        ]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
        events = [catalog_event("1"), catalog_event("2", visitor_id="phone", properties={"gift": True})]
        await store_events(connection=connection, shop="default", events=events)
        await register_bundle(connection=connection, shop="default", bundle=bundle)
        await activate_bundle(connection=connection, shop="default", model="ease", version="1", now=2)
        shelf = await put_placement(connection=connection, shop="default", placement=shelf, now=3)
        change = PlacementChange("shelf", shelf.revision, 3, None, shelf)
        await record_change(connection=connection, shop="default", change=change)
        progress = FileProgress(rejected={"title is missing": 1})
        records = [UserRecord("ann", tags=("trade",))]
        await upsert_user_records(connection=connection, shop="default", records=records, now=4)
        logged = ShopChange(9, 3, None, {"currency": "GBP"})
        await record_shop_change(connection=connection, shop="default", change=logged)
        await remember_deleted(connection=connection, shop="default", people=People(frozenset({"ben"})))
        await save_progress(connection=connection, shop="default", file="0", progress=progress)
    return catalog_url


async def test_schemas_go_back_and_forth_with_what_is_in_them(full_url: str) -> None:
    versions = [f"{number:04}" for number in range(1, int(migrations.HEAD) + 1)]
    newest = await _contents(full_url)
    schemas = {}

    for version in reversed(versions):
        await migrate(full_url, target=version)
        schemas[version] = (await _contents(full_url))[""]
    oldest = await _contents(full_url)
    for version in versions:
        await migrate(full_url, target=version)
        assert (await _contents(full_url))[""] == schemas[version]
    again = await _contents(full_url)

    assert all(newest.values())
    assert again["attribute_definitions"] == newest["attribute_definitions"]
    # The settings of a shop spell its event types otherwise.
    spellings = [each["shops"][0].pop("settings") for each in (oldest, newest, again)]
    assert ["event_weights" in str(spelling) for spelling in spellings] == [True, False, False]
    for table in oldest.keys() - {"", "alembic_version", "placements"}:
        kept = oldest[table][0].keys() & newest[table][0].keys()
        rows = [
            [{name: row[name] for name in kept} for row in each[table]] for each in (oldest, newest, again)
        ]
        assert rows[0] == rows[1] == rows[2]
    # As the release before 0009 made them of the same events.
    hashes = ("b7443c69c8ae4ef1237cfadd14812ad6", "66a523557375a723e4920bfaed8bca9d")
    assert [event["body_hash"] for event in oldest["events"]] == [str(bytes.fromhex(each)) for each in hashes]
    assert [row["id"] for row in again["placements"]] == [row["id"] for row in newest["placements"]]
    assert again["item_texts"] == newest["item_texts"]


async def test_the_type_of_an_attribute_becomes_that_of_most_stored_values(empty_url: str) -> None:
    await migrate(empty_url, target="0011")
    sizes: list[object] = ["M", 42, "L", True, {"time": 5}, ["S"]]
    items = [
        {**_item("default", f"item-{number}", number, "pot"), "attributes": {"size": size, "watts": 7}}
        for number, size in enumerate(sizes)
    ]
    items.append({**_item("other", "mug", 0, "mug"), "attributes": {"size": 42, "No Name": 1, "odd": None}})
    database = Database(empty_url)
    async with database.write() as connection:
        await connection.execute(insert(SHOPS), [_shop("default"), _shop("other")])
        await connection.execute(
            update(SHOPS).values(
                settings={"event_weights": {"purchase": 4, "wish": 2}, "keep_events_days": 90}
            )
        )
        await connection.execute(insert(ITEMS), items)
    await database.close()

    await migrate(empty_url)

    database = await open_database(empty_url)
    async with database.read() as connection:
        shop = await get_shop(connection=connection, shop="default")
        other = await get_shop(connection=connection, shop="other")
        found = await get_items(connection=connection, shop="default", item_ids=["item-1"])
    await database.close()
    assert shop.attributes == {"size": "text", "watts": "number"}
    assert other.attributes == {"size": "number"}
    assert found["item-1"].attributes == {"size": 42, "watts": 7}
    assert shop.event_types == {
        "purchase": EventType(4, EventRole.PURCHASE, ValueRule.PRICE_TIMES_QUANTITY),
        "wish": EventType(2),
    }
    assert shop.keep_events_days == 90


async def test_events_that_were_there_before_count_and_can_be_taken_back(empty_url: str) -> None:
    await migrate(empty_url, target="0012")
    database = Database(empty_url)
    async with database.write() as connection:
        await connection.execute(insert(SHOPS), [{**_shop("small"), "settings": {"event_types": {}}}])
        await connection.execute(
            text(
                "INSERT INTO events (shop, event_id, type, user_id, item_id, time, quantity, currency,"
                " attribution_token, order_id, properties, attribution, revision)"
                " VALUES ('small', 'bought', 'purchase', 'ann', 'mug', 5, 1, '', '', '', '{}', 'none', 7)"
            )
        )
    await database.close()
    bought = Event("bought", "purchase", "mug", 5, user_id="ann")
    refund = Event("back", "refund", "mug", 6, user_id="ann", reversed_event_id="bought")

    await migrate(empty_url)

    database = await open_database(empty_url)
    async with database.write() as connection:
        stored = await store_events(connection=connection, shop="small", events=[bought, refund])
    await database.close()
    assert stored.outcomes == (Outcome.DUPLICATE, Outcome.ACCEPTED)
    assert stored.taken_back == (replace(bought, reversed_revision=8),)
    await migrate(empty_url, target="0012")
    assert [row["event_id"] for row in (await _contents(empty_url))["events"]] == ["bought", "back"]

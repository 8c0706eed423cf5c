"""A shop that is deleted leaves no row, and the rows of others stay."""

from collections.abc import Callable

from sqlalchemy import func, select

from endcap.catalog.configuration.shop_deletion import delete_shop, empty_shop
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import lock_revision
from endcap.catalog.database.tables import METADATA
from endcap.catalog.events.events import Event
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import ExposedItem, Exposure
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.people.deleted_people import People, remember_deleted
from endcap.catalog.people.user_records import UserRecord, upsert_user_records


NOW = 1_700_000_000_000


def exposure(shop: str) -> Exposure:
    return Exposure(shop, "r1", NOW, "home", "v1", {}, (ExposedItem("mug", "popular"),))


async def count(database: Database, shop: str) -> dict[str, int]:
    """Return how many rows a shop has, by table; tables without any are left out."""
    found = {}
    async with database.read() as connection:
        for table in METADATA.sorted_tables:
            column = table.c.id if table.name == "shops" else table.c.shop
            query = select(func.count()).select_from(table).where(column == shop)
            found[table.name] = (await connection.execute(query)).scalar_one()
    return {name: rows for name, rows in found.items() if rows}


async def delete(database: Database, shop: str) -> None:
    await empty_shop(database, shop)
    async with database.write() as connection:
        await lock_revision(connection=connection, shop=shop)
        await delete_shop(connection=connection, shop=shop)


async def test_a_deleted_shop_leaves_no_row_and_takes_none_of_another(
    catalog_database: Database, catalog_event: Callable[..., Event]
) -> None:
    log = ExposureLog(catalog_database)
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="outlet", now=NOW)
        for shop in ("default", "outlet"):
            items = [Item("mug", title="Mug", attributes={"size": "M"})]
            await upsert_items(connection=connection, shop=shop, items=items, now=NOW)
            events = [catalog_event("1"), catalog_event("2", visitor_id="phone")]
            await store_events(connection=connection, shop=shop, events=events)
            records = [UserRecord("ann", tags=("trade",))]
            await upsert_user_records(connection=connection, shop=shop, records=records, now=NOW)
            await remember_deleted(connection=connection, shop=shop, people=People(frozenset({"ben"})))
            log.record(exposure(shop))
    await log.close()
    before = await count(catalog_database, "default")

    await delete(catalog_database, "outlet")

    assert await count(catalog_database, "outlet") == {}
    assert await count(catalog_database, "default") == before
    assert before.keys() >= {"shops", "attribute_definitions", "events", "exposures", "users", "visitors"}

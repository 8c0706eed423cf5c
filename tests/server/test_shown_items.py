"""What an answer shows, leaves out and names, through the real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from endcap.catalog.database import open_database
from endcap.catalog.items import Availability, Item, upsert_items
from endcap.catalog.migration import migrate
from endcap.catalog.shops import create_shop
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import ListItemsRequest


NOW = 1_700_000_000_000
EURO = 1_000_000_000

ITEMS = [
    Item("kettle", title="Kettle", price_nanos=30 * EURO),
    Item("mug", title="Mug", price_nanos=8 * EURO, currency="EUR"),
    Item("teapot", title="Teapot", price_nanos=20 * EURO, currency="GBP"),
    Item("spoon", title="Spoon", availability=Availability.OUT_OF_STOCK),
]
"""Of a shop that sells in euros; nobody bought any."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="EUR")
        await upsert_items(connection=connection, shop="default", items=ITEMS, now=NOW)
    await database.close()
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, refresh_seconds=600)
    )
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("currency = EUR", {"kettle", "mug"}),
        ("currency = GBP", {"teapot"}),
        ("currency != EUR", {"teapot"}),
        ("NOT currency = GBP", {"kettle", "mug"}),
    ],
)
async def test_a_filter_by_currency_answers_alike_in_lists_and_in_recommendations(
    client: AsyncClient, condition: str, ids: set[str]
) -> None:
    condition += " AND available = true"

    answer = await client.recommend("home", filter=condition)
    listed = await client.catalog.ListItems(ListItemsRequest(filter=condition))

    assert {result.item_id for result in answer.results} == ids
    assert {item.id for item in listed.items} == ids

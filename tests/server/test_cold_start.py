"""A shop that has trained nothing: the whole way from events to lists with reasons."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.sdk import Task
from endcap.server.app import Application
from endcap.server.settings import Settings


NOW = time.time_ns() // 1_000_000
"""What the server's clock says too: whether an item is due depends on it."""

DAY = 86_400_000
YEAR = 365 * DAY
POUND = 1_000_000_000

ITEMS = [
    Item("lamp", title="Lamp", price_nanos=30 * POUND, created_time=NOW - YEAR),
    Item("mug", title="Mug", price_nanos=4 * POUND, created_time=NOW - YEAR),
    Item("rake", title="Rake", categories=("garden",), price_nanos=9 * POUND, created_time=NOW - YEAR),
    Item("soap", title="Soap", price_nanos=2 * POUND, created_time=NOW - YEAR),
    Item("tray", title="Tray", price_nanos=8 * POUND, created_time=NOW - DAY),
]


def sale(item_id: str, user_id: str, days_ago: int, pounds: int) -> Event:
    return Event(
        f"{item_id} {user_id} {days_ago}",
        type="purchase",
        item_id=item_id,
        user_id=user_id,
        time=NOW - days_ago * DAY,
        price_nanos=pounds * POUND,
    )


EVENTS = [
    *[sale("mug", user, 90, pounds) for user, pounds in (("ann", 6), ("ben", 5), ("cid", 5))],
    *[sale("soap", "dora", days_ago, 2) for days_ago in (40, 20)],
    *[sale("lamp", user, 0, 30) for user in ("ann", "ben", "eve")],
]
"""Mugs went for 5 pounds and cost 4 now; Dora buys soap every 20 days; lamps sell today and never did."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of a server whose placement ``home`` has the one strategy."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        await upsert_items(connection=connection, shop="default", items=ITEMS, now=NOW)
        await store_events(connection=connection, shop="default", events=EVENTS)
        placement = Placement("home", Task.FOR_YOU, (RungSpec("cold_start"),), exclude_seen=False)
        await put_placement(connection=connection, shop="default", placement=placement, now=NOW)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def why(client: AsyncClient, **request: object) -> list[tuple[str, str]]:
    """Return the items recommended, each with the words of its reason; empty for none."""
    answer = await client.recommend("home", include_reasons=True, **request)  # type: ignore[arg-type]
    assert not answer.degraded
    return [(result.item_id, "".join(reason.text for reason in result.reasons)) for result in answer.results]


async def test_a_new_visitor_gets_a_full_list_and_is_told_why(client: AsyncClient) -> None:
    assert await why(client, visitor_id="just-here", context={"category": "garden"}) == [
        ("rake", ""),  # of its category, and bought by nobody
        ("mug", "Costs less than usual"),
        ("tray", "New in the shop"),
        ("lamp", "Bought more than usual right now"),
        ("soap", "Popular with other customers"),
    ]


async def test_a_customer_is_reminded_of_what_is_due(client: AsyncClient) -> None:
    answer = await why(client, user_id="dora")

    assert answer[:2] == [("soap", "Time to buy it again"), ("mug", "Costs less than usual")]

"""Two servers over one database: what is written at one shows in the answers of the other at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item as StoredItem
from endcap.catalog.items.items import upsert_items
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import (
    BatchUpsertItemsRequest,
    DeleteItemRequest,
)
from endcap.v1.event_pb2 import Event
from endcap.v1.item_pb2 import AVAILABILITY_OUT_OF_STOCK, Item
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_STALE


NOW = 1_700_000_000_000


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """A database whose shop sells a mug and a pot."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        items = [StoredItem("mug", title="Mug"), StoredItem("pot", title="Pot")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await database.close()
    return url


@pytest.fixture
async def writer(url: str) -> AsyncIterator[AsyncClient]:
    async for client in _serving(url, refresh_seconds=1_000):
        yield client


@pytest.fixture
async def reader(url: str) -> AsyncIterator[AsyncClient]:
    """A client of another server, which like the writer's looks for news only when it is asked to."""
    async for client in _serving(url, refresh_seconds=1_000):
        yield client


async def _serving(url: str, refresh_seconds: float) -> AsyncIterator[AsyncClient]:
    settings = Settings(
        address="127.0.0.1:0",
        database_url=url,
        refresh_seconds=refresh_seconds,
        strategy_timeout_seconds=30,
        drain_seconds=0.1,
    )
    application = Application(settings)
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def shown(client: AsyncClient, minimum_revision: int = 0, placement: str = "home") -> set[str]:
    answer = await client.recommend(
        placement, visitor_id="eve", minimum_revision=minimum_revision, page_size=100
    )
    assert DEGRADATION_CAUSE_STALE not in {part.cause for part in answer.degradations}
    return {result.item_id for result in answer.results}


async def test_an_item_that_sells_out_at_one_server_leaves_the_answers_of_the_other(
    writer: AsyncClient, reader: AsyncClient
) -> None:
    before = await shown(reader)
    sold_out = Item(id="mug", title="Mug", availability=AVAILABILITY_OUT_OF_STOCK)

    written = await writer.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[sold_out]))

    assert before == {"mug", "pot"}
    assert await shown(writer) == {"pot"}
    assert await shown(reader) == {"mug", "pot"}
    assert await shown(reader, written.revision) == {"pot"}


async def test_an_item_that_comes_back_and_one_that_comes_in_are_shown(
    writer: AsyncClient, reader: AsyncClient
) -> None:
    await writer.catalog.DeleteItem(DeleteItemRequest(item_id="mug"))
    deleted = await writer.catalog.DeleteItem(DeleteItemRequest(item_id="pot"))
    nothing = await shown(reader, deleted.revision)
    items = [Item(id="pot", title="Red pot"), Item(id="cup", title="Cup")]

    written = await writer.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=items))

    assert nothing == set()
    assert await shown(writer) == {"pot", "cup"}
    assert await shown(reader, written.revision) == {"pot", "cup"}


async def test_what_was_viewed_before_it_came_in_is_in_the_history_afterwards(
    writer: AsyncClient, reader: AsyncClient
) -> None:
    recorded = await writer.record_events([Event(type="view", visitor_id="eve", item_id="cup")])
    before = await shown(reader, recorded.revision, placement="recently-viewed")

    written = await writer.catalog.BatchUpsertItems(
        BatchUpsertItemsRequest(items=[Item(id="cup", title="Cup")])
    )

    assert before == set()
    assert await shown(writer, placement="recently-viewed") == {"cup"}
    assert await shown(reader, written.revision, placement="recently-viewed") == {"cup"}


async def test_writes_and_answers_at_once_at_both_servers(writer: AsyncClient, reader: AsyncClient) -> None:
    """Whoever asks for the revision of a write gets an answer that knows it, whatever else is written."""

    async def sell(client: AsyncClient, other: AsyncClient, name: str) -> None:
        for number in range(8):
            item = Item(id=f"{name} {number}", title="X")
            written = await client.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[item]))
            recorded = await client.record_events([Event(type="view", visitor_id=name, item_id=item.id)])
            assert item.id in await shown(client, written.revision)
            answer = await other.recommend(
                "recently-viewed", visitor_id=name, minimum_revision=recorded.revision, page_size=100
            )
            assert answer.results[0].item_id == item.id

    await asyncio.gather(sell(writer, reader, "one"), sell(reader, writer, "two"))

    assert len(await shown(writer)) == 18


async def test_an_item_that_expires_goes_without_a_write(url: str) -> None:
    database = await open_database(url)
    expires = int(time.time() * 1000) + 1_500
    async with database.write() as connection:
        items = [StoredItem("mug", expire_time=expires)]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await database.close()

    async for client in _serving(url, refresh_seconds=0.05):
        before, asked = await shown(client), time.time() * 1000
        async with asyncio.timeout(30):
            while await shown(client) != {"pot"}:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.05)
        assert before == {"mug", "pot"} or asked >= expires
        assert time.time() * 1000 >= expires


async def test_an_expired_item_is_shown_no_longer_than_to_its_time(url: str) -> None:
    database = await open_database(url)
    expires = int(time.time() * 1000) + 1_500
    async with database.write() as connection:
        items = [StoredItem("mug", expire_time=expires)]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await database.close()

    async for client in _serving(url, refresh_seconds=1_000):
        before, asked = await shown(client), time.time() * 1000
        await asyncio.sleep(max(0.0, expires / 1000 - time.time() + 0.002))
        answer = await client.recommend("home", page_size=100, include_trace=True)

        assert before == {"mug", "pot"} or asked >= expires
        assert [result.item_id for result in answer.results] == ["pot"]
        assert {each.name: each.removed_count for each in answer.trace.filters}["expired"] == 1
        assert answer.trace.eligible_count == 1

"""Servers over one PostgreSQL database: what one records the other knows, and both outlive the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.events.events import Event as StoredEvent
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import RecordEventsRequest
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_STALE, DEGRADATION_CAUSE_STORE_UNAVAILABLE


NOW = 1_700_000_000_000


@pytest.fixture
async def clients(postgresql_url: str, tmp_path: Path) -> AsyncIterator[list[AsyncClient]]:
    """The clients of two servers of a shop that sold a kettle; neither looks for news unless it is asked."""
    database = await open_database(postgresql_url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        items = [Item(item_id, title=item_id.title()) for item_id in ("kettle", "mug", "teapot")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
        bought = StoredEvent("1", "purchase", "kettle", NOW, user_id="ann")
        await store_events(connection=connection, shop="default", events=[bought])
    await database.close()
    async with AsyncExitStack() as opened:
        clients = []
        for number in range(2):
            settings = Settings(
                address="127.0.0.1:0",
                database_url=postgresql_url,
                bundles_folder=tmp_path / f"bundles-{number}",
                refresh_seconds=3_600,
                drain_seconds=0.1,
            )
            application = Application(settings)
            await application.start()
            opened.push_async_callback(application.stop)
            # A server that is busy elsewhere answers without what it did not take in by half of the deadline.
            client = AsyncClient(f"127.0.0.1:{application.port}", Options(deadline=30))
            clients.append(await opened.enter_async_context(client))
        yield clients


def view(item_id: str) -> Event:
    return Event(type="view", visitor_id="eve", item_id=item_id)


async def viewed(client: AsyncClient, minimum_revision: int = 0) -> list[str]:
    answer = await client.recommend("recently-viewed", visitor_id="eve", minimum_revision=minimum_revision)
    return [result.item_id for result in answer.results]


async def refused(client: AsyncClient) -> grpc.StatusCode:
    """Record an event, without the client's retries, and return the status that it is refused with."""
    request = RecordEventsRequest(events=[view("mug")])
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await client.events.RecordEvents(request, timeout=10)
    return error.value.code()


async def test_a_recorded_event_is_seen_by_the_next_call(clients: list[AsyncClient]) -> None:
    before = await viewed(clients[0])

    recorded = await clients[0].record_events([view("teapot")])

    assert (before, await viewed(clients[0])) == ([], ["teapot"])
    assert (recorded.accepted_count, recorded.revision) == (1, 4)


async def test_an_event_recorded_at_one_server_is_seen_by_the_other_that_is_asked_for_its_revision(
    clients: list[AsyncClient],
) -> None:
    here, there = clients
    first = await here.record_events([view("teapot")])
    second = await there.record_events([view("mug")])

    unasked = await viewed(there)
    asked = await viewed(there, minimum_revision=first.revision)

    assert (first.revision, second.revision) == (4, 5)
    assert (unasked, asked) == (["mug"], ["mug", "teapot"])
    assert await viewed(here, minimum_revision=second.revision) == ["mug", "teapot"]


async def test_a_server_answers_in_time_while_the_database_hangs(
    postgresql: Any, clients: list[AsyncClient]
) -> None:
    here, there = clients
    with postgresql.frozen():
        calls = (here.recommend("search", query="kettle", deadline=1.5) for _ in range(20))
        found = await asyncio.gather(*calls)
        stale = await there.recommend("home", visitor_id="eve", minimum_revision=9, deadline=1.5)
        request = RecordEventsRequest(events=[view("mug")])
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await here.events.RecordEvents(request, timeout=0.5)
    again = await here.record_events([view("teapot")])

    assert {answer.results[0].item_id for answer in found} == {"kettle"}
    assert DEGRADATION_CAUSE_STORE_UNAVAILABLE in {part.cause for part in found[0].degradations}
    assert DEGRADATION_CAUSE_STALE in {part.cause for part in stale.degradations}
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert again.accepted_count == 1
    # What came too late for its caller is there all the same.
    assert set(await viewed(here)) == {"teapot", "mug"}


async def test_servers_answer_while_the_database_is_down_and_record_again_when_it_is_back(
    postgresql: Any, clients: list[AsyncClient]
) -> None:
    here, there = clients
    recorded = await here.record_events([view("teapot")])
    postgresql.stop()
    try:
        at_home = await here.recommend("home", visitor_id="eve")
        found = await here.recommend("search", query="kettle")
        stale = await there.recommend("home", visitor_id="eve", minimum_revision=recorded.revision)
        statuses = {await refused(here), await refused(there)}
    finally:
        postgresql.start()
    again = await here.record_events([view("mug")])

    assert at_home.results[0].item_id == "kettle"
    assert [result.item_id for result in found.results] == ["kettle"]
    assert DEGRADATION_CAUSE_STORE_UNAVAILABLE in {part.cause for part in found.degradations}
    assert stale.results[0].item_id == "kettle"
    assert DEGRADATION_CAUSE_STALE in {part.cause for part in stale.degradations}
    assert statuses == {grpc.StatusCode.UNAVAILABLE}
    assert again.accepted_count == 1
    assert await viewed(there, minimum_revision=again.revision) == ["mug", "teapot"]

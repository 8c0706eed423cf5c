"""Buffered events: acknowledged once they wait, written soon, and counted when they are lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from endcap.catalog.database.engine import Database
from endcap.catalog.events import writer as event_writer
from endcap.catalog.events.events import Event, events_after
from endcap.catalog.events.writer import EventWriter
from endcap.sdk.errors import Exhausted, Unavailable


MakeEvent = Callable[..., Event]


@pytest.fixture
def lost() -> list[int]:
    """The numbers of lost events, as they were told."""
    return []


@pytest.fixture
async def writer(
    catalog_database: Database, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EventWriter]:
    monkeypatch.setattr(event_writer, "RETRY_SECONDS", 0.02)
    writer = EventWriter(catalog_database, lambda shop, events, revision: None, on_lost=lost.append)
    yield writer
    await writer.close()


async def _stored(database: Database) -> list[str]:
    async with database.read() as connection:
        stored = await events_after(connection=connection, shop="default", revision=0)
    return [event.event_id for _, event in stored]


async def _until_stored(database: Database, count: int) -> None:
    for _ in range(1_000):
        if len(await _stored(database)) >= count:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the events were not written")


async def _until_refused(writer: EventWriter, event: Event) -> str:
    """Buffer an event until that is refused, and return why."""
    for _ in range(1_000):
        try:
            writer.buffer("default", [event])
        except Unavailable as error:
            return str(error)
        await asyncio.sleep(0.01)
    pytest.fail("it was never refused")


async def test_buffered_events_are_written_without_another_call(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    writer.buffer("default", [catalog_event("1"), catalog_event("2")])
    at_once = await _stored(catalog_database)
    await _until_stored(catalog_database, 2)

    assert at_once == []
    assert await _stored(catalog_database) == ["1", "2"]


async def test_closing_writes_what_waits(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    for number in range(100):
        writer.buffer("default", [catalog_event(str(number))])

    await writer.close()

    assert await _stored(catalog_database) == [str(number) for number in range(100)]


async def test_a_repeated_event_is_stored_once_and_another_one_of_its_id_is_counted_lost(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent, lost: list[int]
) -> None:
    await writer.record("default", [catalog_event("1")])

    writer.buffer("default", [catalog_event("1"), catalog_event("1", item_id="kettle"), catalog_event("2")])
    await writer.close()

    assert await _stored(catalog_database) == ["1", "2"]
    assert lost == [1]


async def test_a_full_queue_is_exhausted(writer: EventWriter, catalog_event: MakeEvent) -> None:
    events = [catalog_event(str(number)) for number in range(1_000)]

    with pytest.raises(Exhausted, match="too many writes"):
        for _ in range(event_writer.QUEUE_SIZE // 1_000 + 1):
            writer.buffer("default", events)


async def test_what_the_database_refuses_is_tried_until_it_is_written_and_no_more_is_taken_in_meanwhile(
    catalog_database: Database,
    writer: EventWriter,
    catalog_event: MakeEvent,
    writing_elsewhere: Callable[[], AbstractAsyncContextManager[None]],
    lost: list[int],
) -> None:
    async with writing_elsewhere():
        writer.buffer("default", [catalog_event("first")])
        refusal = await _until_refused(writer, catalog_event("second"))
    await _until_stored(catalog_database, 2)
    await asyncio.sleep(0.05)
    writer.buffer("default", [catalog_event("third")])
    await writer.close()

    assert refusal == "buffered events wait for the database to take writes again: try again later"
    assert sorted(await _stored(catalog_database)) == ["first", "second", "third"]
    assert lost == []


async def test_what_the_database_still_refuses_at_the_end_is_counted_lost(
    catalog_database: Database,
    writer: EventWriter,
    catalog_event: MakeEvent,
    writing_elsewhere: Callable[[], AbstractAsyncContextManager[None]],
    lost: list[int],
) -> None:
    async with writing_elsewhere():
        writer.buffer("default", [catalog_event("1"), catalog_event("2")])
        await writer.close()

    assert await _stored(catalog_database) == []
    assert lost == [2]

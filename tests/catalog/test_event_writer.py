"""Events: durable once acknowledged, never stored twice, and known in memory before the caller is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from endcap.catalog.database import Database
from endcap.catalog.event_writer import EventWriter
from endcap.catalog.events import Event, Outcome, events_after
from endcap.catalog.shops import create_shop
from endcap.sdk.errors import NotFound, Unavailable


MakeEvent = Callable[..., Event]
Committed = list[tuple[str, list[str], int]]


@pytest.fixture
def committed() -> Committed:
    """What the listener was told: shop, event ids and revision of each commit."""
    return []


@pytest.fixture
async def writer(catalog_database: Database, committed: Committed) -> AsyncIterator[EventWriter]:
    def listen(shop: str, events: Sequence[Event], revision: int) -> None:
        committed.append((shop, [event.event_id for event in events], revision))

    writer = EventWriter(catalog_database, listen)
    yield writer
    await writer.close()


async def _stored(database: Database, shop: str = "default") -> list[str]:
    async with database.read() as connection:
        stored = await events_after(connection=connection, shop=shop, revision=0)
    return [event.event_id for _, event in stored]


async def test_an_event_comes_back_as_it_was_recorded(
    catalog_database: Database, writer: EventWriter
) -> None:
    event = Event(
        "1",
        "purchase",
        "mug",
        5,
        visitor_id="phone",
        quantity=2.5,
        price_nanos=1_990_000_000,
        currency="GBP",
        value=0.0,
        attribution_token="token",  # noqa: S106
        order_id="A1",
        properties={"gift": True, "labels": ["a", "b"]},
    )

    recorded = await writer.record("default", [event])

    assert (recorded.outcomes, recorded.revision) == ((Outcome.ACCEPTED,), 2)
    async with catalog_database.read() as connection:
        assert await events_after(connection=connection, shop="default", revision=1) == [(2, event)]
        assert await events_after(connection=connection, shop="default", revision=2) == []


async def test_an_event_sent_again_is_a_duplicate_and_another_under_its_id_a_conflict(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    await writer.record("default", [catalog_event("1")])

    recorded = await writer.record(
        "default",
        [
            catalog_event("1"),
            catalog_event("1", type="purchase"),
            catalog_event("2"),
            catalog_event("2"),
            catalog_event("2", user_id="bob"),
        ],
    )

    assert recorded.outcomes == (
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
    )
    assert await _stored(catalog_database) == ["1", "2"]


async def test_a_time_that_only_the_server_gave_does_not_make_another_event(
    writer: EventWriter, catalog_event: MakeEvent
) -> None:
    first = await writer.record("default", [catalog_event("1", time=10, time_is_given=False)])
    again = await writer.record("default", [catalog_event("1", time=20, time_is_given=False)])
    timed = await writer.record("default", [catalog_event("1", time=20)])

    outcomes = [recorded.outcomes[0] for recorded in (first, again, timed)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT]


async def test_a_call_with_nothing_new_advances_nothing(
    writer: EventWriter, committed: Committed, catalog_event: MakeEvent
) -> None:
    revisions = [(await writer.record("default", [catalog_event("1")])).revision for _ in range(3)]

    assert revisions == [2, 2, 2]
    assert committed == [("default", ["1"], 2)]


async def test_concurrent_calls_share_commits(
    catalog_database: Database, writer: EventWriter, committed: Committed, catalog_event: MakeEvent
) -> None:
    commits: list[object] = []
    sqlalchemy_event.listen(catalog_database._engine.sync_engine, "commit", commits.append)

    calls = (writer.record("default", [catalog_event(str(number))]) for number in range(64))
    recorded = await asyncio.gather(*calls)

    assert all(call.outcomes == (Outcome.ACCEPTED,) for call in recorded)
    assert len(await _stored(catalog_database)) == 64
    assert len(commits) <= 2
    assert len(commits) == len(committed)


async def test_fifty_calls_with_one_event_store_it_once(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    calls = (writer.record("default", [catalog_event("1")]) for _ in range(50))
    outcomes = [call.outcomes[0] for call in await asyncio.gather(*calls)]

    assert sorted(outcomes) == [Outcome.ACCEPTED] + [Outcome.DUPLICATE] * 49
    assert await _stored(catalog_database) == ["1"]


async def test_the_listener_knows_before_the_caller(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    order: list[str] = []
    writer = EventWriter(catalog_database, lambda shop, events, revision: order.append("listener"))

    await writer.record("default", [catalog_event("1")])
    order.append("caller")
    await writer.close()

    assert order == ["listener", "caller"]


async def test_a_listener_that_fails_does_not_undo_what_is_on_disk(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    def fail(shop: str, events: Sequence[Event], revision: int) -> None:
        raise ZeroDivisionError

    writer = EventWriter(catalog_database, fail)

    recorded = await writer.record("default", [catalog_event("1")])
    await writer.close()

    assert recorded.outcomes == (Outcome.ACCEPTED,)


async def test_shops_in_one_commit_stay_apart(
    catalog_database: Database, writer: EventWriter, committed: Committed, catalog_event: MakeEvent
) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="second", now=1)

    default, second, nowhere = await asyncio.gather(
        writer.record("default", [catalog_event("1"), catalog_event("2")]),
        writer.record("second", [catalog_event("1", user_id="bob")]),
        writer.record("nowhere", [catalog_event("1")]),
        return_exceptions=True,
    )

    assert not isinstance(default, BaseException)
    assert not isinstance(second, BaseException)
    assert isinstance(nowhere, NotFound)
    assert (default.outcomes, second.outcomes) == ((Outcome.ACCEPTED,) * 2, (Outcome.ACCEPTED,))
    assert sorted(committed) == [("default", ["1", "2"], 2), ("second", ["1"], 2)]
    assert await _stored(catalog_database, "second") == ["1"]


async def test_an_event_that_the_database_cannot_hold_fails_alone(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    with capture_logs() as log:
        good, bad = await asyncio.gather(
            writer.record("default", [catalog_event("good")]),
            writer.record("default", [catalog_event("bad", time=2**80)]),
            return_exceptions=True,
        )

    assert not isinstance(good, BaseException)
    assert isinstance(bad, (OverflowError, DBAPIError))
    assert [entry["event"] for entry in log] == ["commit failed"]
    assert await _stored(catalog_database) == ["good"]


async def test_a_lock_fails_the_calls_that_wait_and_later_ones_go_through(
    catalog_database: Database,
    writing_elsewhere: Callable[[], AbstractAsyncContextManager[None]],
    writer: EventWriter,
    catalog_event: MakeEvent,
) -> None:
    async with writing_elsewhere():
        calls = (writer.record("default", [catalog_event(str(number))]) for number in range(5))
        failed = await asyncio.gather(*calls, return_exceptions=True)

    recorded = await writer.record("default", [catalog_event("0")])

    assert all(isinstance(call, Unavailable) for call in failed)
    assert recorded.outcomes == (Outcome.ACCEPTED,)
    assert await _stored(catalog_database) == ["0"]


async def test_a_cancelled_call_is_recorded_whole(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    call = asyncio.create_task(
        writer.record("default", [catalog_event(str(number)) for number in range(100)])
    )
    await asyncio.sleep(0)
    call.cancel()

    await writer.close()

    assert len(await _stored(catalog_database)) == 100

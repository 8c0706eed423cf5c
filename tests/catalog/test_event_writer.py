"""Events: durable once acknowledged, never stored twice, and known in memory before the caller is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import USERS, VISITORS
from endcap.catalog.events.events import Event, Outcome, events_after
from endcap.catalog.events.storing import store_events
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.memory.histories import Histories
from endcap.sdk import Vocabulary
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


async def _people(
    database: Database, shop: str
) -> tuple[dict[str, int], dict[str, tuple[str | None, int, int | None]]]:
    """Return when users were created, and visitors with their user, and when they were created and linked."""
    user, visitor = USERS.c, VISITORS.c
    users = select(user.id, user.created_time).where(user.shop == shop)
    links = select(visitor.id, visitor.user_id, visitor.created_time, visitor.linked_time).where(
        visitor.shop == shop
    )
    async with database.read() as connection:
        return (
            {row.id: row.created_time for row in await connection.execute(users)},
            {name: tuple(link) for name, *link in await connection.execute(links)},
        )


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


async def test_whoever_names_no_time_means_the_event_that_is_stored(
    writer: EventWriter, catalog_event: MakeEvent
) -> None:
    await writer.record("default", [catalog_event("1", time=10)])
    again = await writer.record("default", [catalog_event("1", time=20, time_is_given=False)])

    assert again.outcomes == (Outcome.DUPLICATE,)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "purchase"},
        {"item_id": "tea"},
        {"time": 6},
        {"user_id": "bob"},
        {"user_id": None},
        {"visitor_id": "tablet"},
        {"quantity": 3.0},
        {"price_nanos": 1},
        {"price_nanos": None},
        {"currency": "EUR"},
        {"value": 0.0},
        {"attribution_token": ""},
        {"order_id": "A2"},
        {"properties": {}},
        {"properties": {"labels": ["b", "a"], "size": 1e23}},
    ],
    ids=str,
)
async def test_a_change_of_any_field_makes_another_event(
    writer: EventWriter, catalog_event: MakeEvent, change: dict[str, object]
) -> None:
    values = {
        "visitor_id": "phone",
        "time": 5,
        "quantity": 2.5,
        "price_nanos": 1_990_000_000,
        "currency": "GBP",
        "attribution_token": "token",
        "order_id": "A1",
        "properties": {"labels": ("a", "b"), "size": 1e23},
    }
    await writer.record("default", [catalog_event("1", **values)])

    same, other = catalog_event("1", **values), catalog_event("1", **{**values, **change})

    assert (await writer.record("default", [same, other])).outcomes == (Outcome.DUPLICATE, Outcome.CONFLICT)


async def test_people_who_are_known_in_memory_are_stored_as_if_they_were_not(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="outlet", now=1)
    histories = Histories(Vocabulary(["mug"]))
    histories.reach(1)
    writer = EventWriter(
        catalog_database,
        lambda shop, events, revision: histories.apply(events, revision) if shop == "outlet" else None,
    )
    numbers = Random(1)

    def event(number: int) -> Event:
        user, visitor = numbers.choice([("ann", None), (None, "phone"), ("ann", "phone"), ("bob", "phone")])
        return catalog_event(str(number), user_id=user, visitor_id=visitor, time=number)

    for first in range(0, 60, 3):
        events = [event(number) for number in range(first, first + 3)]
        for shop in ("default", "outlet"):
            await writer.record(shop, events, histories if shop == "outlet" else None)
        assert await _people(catalog_database, "outlet") == await _people(catalog_database, "default")
    await writer.close()

    assert histories.revision == 21


async def test_only_people_whom_a_shop_lacks_are_stored(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    histories = Histories(Vocabulary(["mug"]))
    # As if they were stored, which shows who is looked for in memory alone.
    histories.append([catalog_event("0", visitor_id="phone")])
    histories.reach(1)

    async def store(number: int) -> tuple[list[str], dict[str, str | None]]:
        event = catalog_event(str(number), visitor_id="phone")
        async with catalog_database.write() as connection:
            await store_events(connection=connection, shop="default", events=[event], known=histories)
        users, visitors = await _people(catalog_database, "default")
        return sorted(users), {visitor: user for visitor, (user, _, _) in visitors.items()}

    assert await store(1) == ([], {})
    # The shop is at its second revision now, of which the histories have not heard.
    assert await store(2) == (["ann"], {"phone": "ann"})


async def test_a_link_has_the_time_at_which_it_was_made(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    made = []
    for number, user in enumerate(("ann", "ann", "bob", "ann")):
        await writer.record(
            "default", [catalog_event(str(number), time=number, user_id=user, visitor_id="v")]
        )
        _, visitors = await _people(catalog_database, "default")
        made.append(visitors["v"])

    assert made == [("ann", 0, 0), ("ann", 0, 0), ("bob", 0, 2), ("ann", 0, 3)]


async def test_a_link_made_beside_other_events_has_the_time_of_its_own(
    catalog_database: Database, writer: EventWriter, catalog_event: MakeEvent
) -> None:
    events = [
        catalog_event("1", time=1, user_id=None, visitor_id="v"),
        catalog_event("2", time=2, user_id="ann", visitor_id="v"),
        catalog_event("3", time=3, user_id="ann", visitor_id="v"),
    ]
    await writer.record("default", events)

    _, visitors = await _people(catalog_database, "default")
    assert visitors == {"v": ("ann", 1, 2)}


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

"""Behaviour of PostgreSQL alone: many writers at once, and failures that SQLite cannot have."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from endcap.catalog.configuration.shops import create_shop, get_shop, list_shops
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.migrations import HEAD
from endcap.catalog.database.revisions import lock_revision
from endcap.catalog.database.tables import METADATA
from endcap.catalog.events.commit import Recorded
from endcap.catalog.events.events import Event, events_after
from endcap.catalog.events.storing import store_events
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.people.users import count_users, remember_users
from endcap.sdk.errors import DataLoss, Exhausted, FailedPrecondition, InvalidInput, Unavailable


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    """A database that holds the shops ``default`` and ``second``."""
    database = await open_database(postgresql_url, lock_timeout=0.2)
    async with database.write() as connection:
        for shop in ("default", "second"):
            await create_shop(connection=connection, shop=shop, now=1)
    yield database
    await database.close()


async def record(database: Database, event_id: str, shop: str = "default") -> int:
    """Store one event, and return its revision."""
    event = Event(event_id, "view", "mug", 1, user_id=f"user-{event_id}")
    async with database.write() as connection:
        return (await store_events(connection=connection, shop=shop, events=[event])).revision


async def read(database: Database) -> list[str]:
    async with database.read() as connection:
        return [shop.id for shop in await list_shops(connection=connection)]


async def flushed_before_acknowledged(database: Database, *, promised: bool = True) -> list[bool]:
    """Store events one after the other, and return of each whether its log was flushed when it was stored."""
    flushed = []
    for number in range(10):
        event = Event(str(number), "view", "mug", 1, user_id="ann")
        async with database.write() as connection:
            if not promised:
                await connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            await store_events(connection=connection, shop="default", events=[event])
            written = (await connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn()::text")).scalar()
        async with database.read() as connection:
            query = f"SELECT pg_current_wal_flush_lsn() >= '{written}'::pg_lsn"
            flushed.append(bool((await connection.exec_driver_sql(query)).scalar()))
    return flushed


async def test_what_is_acknowledged_is_flushed_whatever_the_server_does_for_others(
    postgresql: Any, postgresql_url: str, database: Database
) -> None:
    postgresql.execute("ALTER ROLE endcap SET synchronous_commit = off")
    try:
        other = await open_database(postgresql_url)
        flushed = await flushed_before_acknowledged(other)
        await other.close()
    finally:
        postgresql.execute("ALTER ROLE endcap RESET synchronous_commit")

    assert all(flushed)


async def test_the_check_finds_what_is_acknowledged_unflushed(database: Database) -> None:
    assert not all(await flushed_before_acknowledged(database, promised=False))


async def test_a_reader_that_sees_a_revision_sees_every_smaller_one(
    postgresql_url: str, database: Database
) -> None:
    processes = [await open_database(postgresql_url) for _ in range(4)]
    seen: list[tuple[int, list[int]]] = []

    async def write(process: Database, name: int) -> None:
        for number in range(15):
            await record(process, f"{name}-{number}")

    async def watch() -> None:
        while not seen or seen[-1][0] < 61:
            async with database.read() as connection:
                about = await get_shop(connection=connection, shop="default")
                events = await events_after(connection=connection, shop="default", revision=0)
            seen.append((about.revision, [revision for revision, _ in events]))

    writing = (write(process, name) for name, process in enumerate(processes))
    await asyncio.wait_for(asyncio.gather(watch(), *writing), 60)
    for process in processes:
        await process.close()

    assert len({revision for revision, _ in seen}) > 5
    assert all(events == list(range(2, revision + 1)) for revision, events in seen)


async def test_writers_of_two_shops_do_not_wait_for_each_other(database: Database) -> None:
    async with database.write() as connection:
        await lock_revision(connection=connection, shop="default")

        assert await record(database, "1", "second") == 2
        with pytest.raises(Unavailable):
            await record(database, "1", "default")


async def test_two_writers_that_wait_for_each_other_are_told_apart(
    postgresql_url: str, database: Database
) -> None:
    patient = await open_database(postgresql_url, lock_timeout=10)
    both_hold_one = asyncio.Barrier(2)

    async def lock(*shops: str) -> None:
        async with patient.write() as connection:
            await lock_revision(connection=connection, shop=shops[0])
            await both_hold_one.wait()
            await lock_revision(connection=connection, shop=shops[1])

    outcomes = await asyncio.gather(
        lock("default", "second"), lock("second", "default"), return_exceptions=True
    )
    await patient.close()

    assert sorted(map(type, outcomes), key=str) == [type(None), Unavailable]


async def test_writers_of_the_same_people_in_another_order_do_not_wait_for_each_other(
    postgresql_url: str, database: Database
) -> None:
    patient = await open_database(postgresql_url, lock_timeout=10)

    async def remember(users: Sequence[str]) -> None:
        async with patient.write() as connection:
            await remember_users(connection=connection, shop="default", created_times=dict.fromkeys(users, 1))

    for turn in range(5):
        users = [f"{turn}-{number}" for number in range(2_000)]
        await asyncio.gather(remember(users), remember(users[::-1]))
    async with patient.read() as connection:
        found = await count_users(connection=connection, shop="default")
    await patient.close()

    assert found == 10_000


async def test_a_block_that_reads_cannot_write(database: Database) -> None:
    async with database.read() as connection:
        with pytest.raises(Unavailable, match="no writes"):
            await create_shop(connection=connection, shop="third", now=1)


async def test_a_statement_that_takes_too_long_is_unavailable(database: Database) -> None:
    async with database.read() as connection:
        await connection.exec_driver_sql("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(Unavailable):
            await connection.exec_driver_sql("SELECT pg_sleep(5)")

    assert await read(database) == ["default", "second"]


async def test_no_plan_of_a_small_table_is_kept_for_a_large_one(database: Database) -> None:
    for number in range(10):
        await record(database, f"{number}")
    async with database.write() as connection:
        query = (
            "SELECT sum(generic_plans) = 0 AND max(custom_plans) >= 10 FROM pg_prepared_statements"
            " WHERE parameter_types <> '{}'"
        )
        assert (await connection.exec_driver_sql(query)).scalar()


async def test_a_write_that_is_given_up_holds_nobody_up(database: Database) -> None:
    async def write_slowly() -> None:
        async with database.write() as connection:
            await lock_revision(connection=connection, shop="default")
            await connection.exec_driver_sql("SELECT pg_sleep(30)")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write_slowly(), 0.3)

    assert await record(database, "1") == 2


async def test_a_server_that_hangs_does_not_hold_up_who_gives_up(postgresql: Any, database: Database) -> None:
    await asyncio.gather(*(read(database) for _ in range(3)))
    with postgresql.frozen():
        started = time.monotonic()
        calls = (asyncio.wait_for(read(database), 0.1) for _ in range(3))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        waited = time.monotonic() - started

    assert set(map(type, outcomes)) == {TimeoutError}
    assert waited < 1.5  # a polite parting takes two seconds
    assert await read(database) == ["default", "second"]


async def test_a_server_that_stops_is_unavailable_and_found_again_without_a_failed_call(
    postgresql: Any, database: Database
) -> None:
    async def in_the_middle_of_a_transaction() -> None:
        async with database.write() as connection:
            await lock_revision(connection=connection, shop="default")
            postgresql.stop()
            await connection.exec_driver_sql("SELECT 1")

    await asyncio.gather(*(read(database) for _ in range(5)))  # as many connections as are going to be cut
    try:
        with pytest.raises(Unavailable):
            await in_the_middle_of_a_transaction()
        calls: list[Callable[[], Awaitable[object]]] = [lambda: read(database), lambda: record(database, "1")]
        for call in calls:
            with pytest.raises(Unavailable):
                await call()
    finally:
        postgresql.start()

    assert await asyncio.gather(*(read(database) for _ in range(5))) == [["default", "second"]] * 5
    assert await record(database, "1") == 2


async def test_a_crash_of_the_server_loses_nothing_acknowledged_and_a_retry_doubles_nothing(
    postgresql: Any, database: Database
) -> None:
    writer = EventWriter(database, lambda shop, events, revision: None)
    acknowledged = [0] * 8

    async def record_in_turn(caller: int) -> None:
        while True:
            event = Event(f"{caller}-{acknowledged[caller]}", "view", "mug", 1, user_id="ann")
            await writer.record("default", [event])
            acknowledged[caller] += 1

    for _ in range(3):
        callers = [asyncio.create_task(record_in_turn(caller)) for caller in range(8)]
        await asyncio.sleep(0.2)
        postgresql.stop()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        postgresql.start()
        assert set(map(type, outcomes)) == {Unavailable}
    await writer.close()

    async with database.read() as connection:
        events = await events_after(connection=connection, shop="default", revision=0)
    stored = sorted(event.event_id for _, event in events)
    certain = {f"{caller}-{number}" for caller, count in enumerate(acknowledged) for number in range(count)}
    assert min(acknowledged) > 0
    assert (
        certain <= set(stored) <= certain | {f"{caller}-{count}" for caller, count in enumerate(acknowledged)}
    )
    assert len(stored) == len(set(stored))


async def test_a_damaged_page_is_data_loss_where_it_is_touched_and_nowhere_else(
    postgresql: Any, empty_postgresql_url: str
) -> None:
    await migrate(empty_postgresql_url)
    database = await open_database(empty_postgresql_url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
    await record(database, "1")
    async with database.read() as connection:
        page = (await connection.exec_driver_sql("SELECT pg_relation_filepath('events')")).scalar_one()
    await database.close()
    # Then the page is on disk and nowhere else, neither in memory nor in the log.
    postgresql.execute("CHECKPOINT")
    postgresql.stop()
    postgresql.start()
    with (postgresql.folder / "data" / page).open("r+b") as file:
        file.write(b"\xde\xad\xbe\xef" * 1_024)
    database = await open_database(empty_postgresql_url)
    try:
        shops = await read(database)
        damaged_before = database.damaged
        with pytest.raises(DataLoss, match="the database is damaged: restore it from a backup"):
            async with database.read() as connection:
                await events_after(connection=connection, shop="default", revision=0)
    finally:
        await database.close()

    assert (shops, damaged_before, database.damaged) == (["default"], False, True)


async def test_a_call_that_finds_every_connection_in_use_is_told_so(database: Database) -> None:
    async def hold() -> None:
        async with database.read() as connection:
            await connection.exec_driver_sql("SELECT pg_sleep(1)")

    holding = [asyncio.create_task(hold()) for _ in range(10)]
    await asyncio.sleep(0.2)

    with pytest.raises(Unavailable, match="in use"):
        await read(database)

    await asyncio.gather(*holding)
    assert await read(database) == ["default", "second"]


@contextmanager
def small_disk(folder: Path, user: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size=12m,uid={user},mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_is_exhausted_and_reads_go_on(
    postgresql: Any, postgresql_url: str, database: Database
) -> None:
    folder = postgresql.folder / "small"
    folder.mkdir()
    items = [
        Item(f"item-{number}", description="".join(map(chr, range(200, 2_000)))) for number in range(3_000)
    ]
    with small_disk(folder, "nobody"):
        postgresql.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        async with database.write() as connection:
            await connection.exec_driver_sql("ALTER TABLE items SET TABLESPACE small")

        with pytest.raises(Exhausted, match="disk"):
            async with database.write() as connection:
                await upsert_items(connection=connection, shop="default", items=items, now=1)
        assert await read(database) == ["default", "second"]
        assert await record(database, "1") == 2

        async with database.write() as connection:
            await connection.exec_driver_sql("ALTER TABLE items SET TABLESPACE pg_default")
        postgresql.execute("DROP TABLESPACE small")


@pytest.mark.parametrize(
    ("change", "error", "remedy"),
    [
        (("/test", "/nowhere_test"), FailedPrecondition, "createdb"),
        (("endcap@", "stranger@"), FailedPrecondition, "user or the password"),
        (("?host=", "?host=/nowhere"), Unavailable, "does not answer"),
        (("?host=", "?sslmode=perhaps&host="), InvalidInput, "URL"),
    ],
)
async def test_a_url_that_leads_nowhere_says_what_to_correct(
    postgresql_url: str, change: tuple[str, str], error: type[Exception], remedy: str
) -> None:
    with pytest.raises(error, match=remedy):
        await open_database(postgresql_url.replace(*change))


async def test_what_libpq_understands_may_be_in_the_url(postgresql_url: str) -> None:
    url = postgresql_url.replace("postgresql://", "postgresql+asyncpg://")

    database = await open_database(f"{url}&sslmode=prefer&application_name=shop")
    async with database.read() as connection:
        name = (await connection.exec_driver_sql("SHOW application_name")).scalar()
    await database.close()

    assert name == "shop"


async def test_three_that_migrate_at_once_do_it_once(empty_postgresql_url: str) -> None:
    await asyncio.gather(*(migrate(empty_postgresql_url) for _ in range(3)))

    database = await open_database(empty_postgresql_url)
    async with database.read() as connection:
        versions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
        created = await connection.execute(
            text("SELECT relname, xmin::text FROM pg_class WHERE relname = ANY(:names)"),
            {"names": [*METADATA.tables]},
        )
        transactions = {str(name): transaction for name, transaction in created}
    await database.close()
    assert versions == [HEAD]
    assert transactions.keys() == METADATA.tables.keys()
    assert len({*transactions.values()}) == 1


async def test_the_character_that_postgresql_cannot_store_is_rejected_with_its_event_alone(
    database: Database,
) -> None:
    writer = EventWriter(database, lambda shop, events, revision: None)
    events = [
        Event("1", "view", "mug", 1, user_id="ann"),
        Event("2", "view", "mug", 1, user_id="ann", order_id="A\0"),
        Event("3", "view", "mug", 1, user_id="ann", properties={"colour": "re\0d"}),
        Event("4\0", "view", "mug", 1, user_id="ann"),
        Event("5", "view", "mug", 1, user_id="ann"),
    ]

    outcomes = await asyncio.gather(
        *(writer.record("default", [event]) for event in events), return_exceptions=True
    )
    await writer.close()

    assert [type(outcome) for outcome in outcomes] == [
        Recorded,
        InvalidInput,
        InvalidInput,
        InvalidInput,
        Recorded,
    ]
    async with database.read() as connection:
        stored = await events_after(connection=connection, shop="default", revision=0)
    assert [event.event_id for _, event in stored] == ["1", "5"]


async def test_ids_are_in_the_order_of_their_bytes_whatever_the_language(database: Database) -> None:
    query = text(
        "SELECT table_name || '.' || column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND collation_name = 'C'"
    )
    async with database.read() as connection:
        found = set((await connection.execute(query)).scalars())

    assert found >= {
        "shops.id",
        "items.id",
        "users.id",
        "visitors.id",
        "placements.id",
        "bundles.model",
        "bundles.version",
    }

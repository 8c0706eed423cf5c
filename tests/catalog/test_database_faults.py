"""What a server does while its file is full, locked, gone, slow or damaged: no acknowledged event is lost."""

import asyncio
import functools
import os
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiosqlite
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events.events import Event as StoredEvent
from endcap.catalog.events.events import events_after
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.sdk.errors import FailedPrecondition
from endcap.server import app
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import RecordEventsRequest
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_STORE_UNAVAILABLE


NOW = 1_700_000_000_000
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def fill(file: Path) -> None:
    """Create the database of a shop that sold a kettle."""
    url = f"sqlite:///{file}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        items = [Item(item_id, title=item_id.title()) for item_id in ("kettle", "mug", "teapot")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
        bought = StoredEvent("0", "purchase", "kettle", NOW, user_id="ann")
        await store_events(connection=connection, shop="default", events=[bought])
    await database.close()


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """The file of a shop that sold a kettle."""
    file = tmp_path / "catalog" / "endcap.db"
    await fill(file)
    return file


async def stored(file: Path) -> list[str]:
    """Return the ids of the events that are in a file, in their order."""
    database = await open_database(f"sqlite:///{file}")
    async with database.read() as connection:
        events = await events_after(connection=connection, shop="default", revision=0)
    await database.close()
    return [event.event_id for _, event in events]


@dataclass
class Served:
    """A server of the shop, and what it has acknowledged."""

    client: AsyncClient
    health: Any
    numbers: Iterator[int]
    acknowledged: list[str]

    async def record(self, *, size: int = 0) -> grpc.StatusCode:
        """Record one event, of about so many bytes, without the client's retries."""
        event_id = str(next(self.numbers))
        event = Event(event_id=event_id, type="view", visitor_id="eve", item_id="mug")
        for number in range(size // 200):
            event.properties[f"note_{number}"].text = event_id.zfill(190)
        try:
            answer = await self.client.events.RecordEvents(RecordEventsRequest(events=[event]), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
        assert answer.accepted_count == 1
        self.acknowledged.append(event_id)
        return grpc.StatusCode.OK

    async def record_until_refused(self) -> grpc.StatusCode:
        """Record events until one is refused, and return the status."""
        async with asyncio.timeout(30):
            while (code := await self.record(size=6_000)) is grpc.StatusCode.OK:
                pass
        return code

    async def home(self) -> list[str]:
        """Return what the home page shows: the kettle, which was bought, is first."""
        return [result.item_id for result in (await self.client.recommend("home", deadline=1)).results]

    async def state(self) -> int:
        """Return what the health service says."""
        status: int = (await self.health.Check(health_pb2.HealthCheckRequest())).status
        return status

    async def state_after(self, state: int) -> int:
        """Return what the health service says when it says something else."""
        async with asyncio.timeout(10):
            async for answer in self.health.Watch(health_pb2.HealthCheckRequest()):
                if answer.status != state:
                    break
        return await self.state()


@asynccontextmanager
async def serving(file: Path, **settings: Any) -> AsyncIterator[Served]:
    """Serve the shop; nothing looks at the database unless it is asked."""
    defaults: dict[str, Any] = {
        "refresh_seconds": 3_600,
        "drain_seconds": 0.1,
        "bundles_folder": file.parent / "bundles",
    }
    application = Application(
        Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}", **(defaults | settings))
    )
    await application.start()
    address = f"127.0.0.1:{application.port}"
    try:
        async with AsyncClient(address) as client, grpc.aio.insecure_channel(address) as channel:
            yield Served(client, health_pb2_grpc.HealthStub(channel), count(1), [])
    finally:
        await application.stop()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_file_that_may_not_grow_takes_no_events_until_it_may_again(file: Path) -> None:
    async with serving(file) as served:
        before = await served.record()
        with file_size_limit(400_000):
            refused = await served.record_until_refused()
            meanwhile = await served.home()
        afterwards = await served.record()

    assert (before, refused, afterwards) == (grpc.StatusCode.OK, EXHAUSTED, grpc.StatusCode.OK)
    assert meanwhile[0] == "kettle"
    assert await stored(file) == ["0", *served.acknowledged]


async def test_a_full_disk_takes_no_events_until_there_is_room_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        file = disk / "endcap.db"
        await fill(file)
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 200_000))
        async with serving(file) as served:
            refused = await served.record_until_refused()
            small = await served.record()
            meanwhile = await served.home()
            filler.unlink()
            afterwards = await served.record()
        found = await stored(file)

    assert refused is EXHAUSTED
    assert small in {EXHAUSTED, grpc.StatusCode.OK}  # a few bytes may fit where many do not
    assert meanwhile[0] == "kettle"
    assert afterwards is grpc.StatusCode.OK
    assert found == ["0", *served.acknowledged]


async def test_events_are_unavailable_while_another_process_writes_and_answers_go_on(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "open_database", functools.partial(open_database, lock_timeout=0.2))
    async with serving(file) as served:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = await served.record()
            meanwhile = await served.home()
            found = await served.client.recommend("search", query="mug")
            other.execute("ROLLBACK")
        afterwards = await served.record()

    assert (refused, afterwards) == (UNAVAILABLE, grpc.StatusCode.OK)
    assert meanwhile[0] == "kettle"
    assert (found.results[0].item_id, found.degraded) == ("mug", False)
    assert await stored(file) == ["0", *served.acknowledged]


async def test_eight_processes_that_write_at_once_all_succeed(file: Path) -> None:
    processes = [await open_database(f"sqlite:///{file}") for _ in range(8)]

    async def write(database: Database, name: int) -> None:
        for number in range(25):
            event = StoredEvent(f"{name}-{number}", "view", "mug", NOW, visitor_id="eve")
            async with database.write() as connection:
                await store_events(connection=connection, shop="default", events=[event])

    await asyncio.gather(*(write(process, name) for name, process in enumerate(processes)))
    for process in processes:
        await process.close()

    assert len(await stored(file)) == 201


def _move(file: Path, folder: Path) -> None:
    """Move a database with its log, as an operator might."""
    folder.mkdir()
    for part in file.parent.glob("endcap.db*"):
        part.rename(folder / part.name)


async def test_a_file_that_is_deleted_takes_no_more_events_and_is_not_made_anew(
    file: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    async with serving(file) as served:
        before = await served.record()
        _move(file, away)
        refused = [await served.record() for _ in range(8)]  # whichever connection is used
        meanwhile = await served.home()
        found = await served.client.recommend("search", query="mug")
        is_there = file.exists()
        for part in away.iterdir():
            part.rename(file.parent / part.name)
        afterwards = await served.record()

    assert (before, set(refused), afterwards) == (grpc.StatusCode.OK, {UNAVAILABLE}, grpc.StatusCode.OK)
    assert not is_there
    assert meanwhile[0] == "kettle"
    assert found.results[0].item_id == "mug"
    assert DEGRADATION_CAUSE_STORE_UNAVAILABLE in {part.cause for part in found.degradations}
    assert await stored(file) == ["0", *served.acknowledged]


async def test_a_file_that_is_put_in_the_place_of_another_takes_the_events(
    file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "endcap.db"
    await fill(other)
    async with serving(file) as served:
        _move(file, tmp_path / "away")
        other.rename(file)
        afterwards = await served.record()

    assert afterwards is grpc.StatusCode.OK
    assert await stored(file) == ["0", *served.acknowledged]


async def test_answers_come_in_time_while_every_statement_takes_two_seconds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute: Any = aiosqlite.Connection._execute

    async def slow(self: Any, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        def work(*arguments: Any, **named: Any) -> Any:
            time.sleep(2)
            return function(*arguments, **named)

        return await execute(self, work, *arguments, **named)

    async with serving(file) as served:
        monkeypatch.setattr(aiosqlite.Connection, "_execute", slow)
        home = await served.home()
        calls = (served.client.recommend("search", query="mug", deadline=1) for _ in range(10))
        found = await asyncio.gather(*calls)
        monkeypatch.undo()

    assert home[0] == "kettle"
    assert {answer.results[0].item_id for answer in found} == {"mug"}
    for answer in found:
        assert DEGRADATION_CAUSE_STORE_UNAVAILABLE in {part.cause for part in answer.degradations}


def _damage(file: Path, index: str) -> None:
    """Overwrite the first page of an index, which loading a shop does not look at."""
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name LIKE ? AND tbl_name = 'events'"
        (page,) = database.execute(query, (index,)).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as content:
        content.seek((page - 1) * size)
        content.write(b"\xde\xad\xbe\xef" * (size // 4))


async def test_a_damaged_page_is_data_loss_and_the_server_says_that_it_is_not_well(file: Path) -> None:
    _damage(file, "sqlite_autoindex_events%")
    async with serving(file, refresh_seconds=0.05) as served:
        well = await served.state()
        refused = await served.record()
        state = await served.state_after(well)
        meanwhile = await served.home()

    assert (well, state) == (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert refused is grpc.StatusCode.DATA_LOSS
    assert meanwhile[0] == "kettle"


async def test_of_a_torn_log_only_the_last_commit_is_lost(file: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn" / "endcap.db"
    torn.parent.mkdir()
    async with serving(file) as served:
        for _ in range(50):
            await served.record()
        # What a crash leaves: the file and its log as they are now.
        shutil.copy(file, torn)
        shutil.copy(f"{file}-wal", f"{torn}-wal")
    log = Path(f"{torn}-wal")
    os.truncate(log, log.stat().st_size - 100)

    left = await stored(torn)
    async with serving(torn) as restarted:
        shown = await restarted.home()

    assert left == ["0", *served.acknowledged[:-1]]
    assert shown[0] == "mug"  # forty-nine views count for more than a purchase


async def test_a_folder_that_cannot_be_written_is_named_at_the_start(file: Path) -> None:
    folder = file.parent
    application = Application(Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}"))
    with mounted(folder, "-o", "bind,ro", str(folder)):
        for start in (application.start(), migrate(f"sqlite:///{file}")):
            with pytest.raises(FailedPrecondition, match=f"{folder} cannot be written"):
                await start


async def test_a_schema_of_a_newer_release_is_rejected_at_the_start(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    application = Application(Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}"))

    for start in (application.start(), migrate(f"sqlite:///{file}")):
        with pytest.raises(FailedPrecondition, match="use a newer release"):
            await start

"""How a server ends, and how it fails to begin: the real process, and what it leaves behind."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.sdk.errors import Unavailable
from endcap.server.api.draining import hang_up
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import GetItemRequest
from endcap.v1.catalog_service_pb2_grpc import CatalogServiceStub
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import RecordEventsRequest
from endcap.v1.event_service_pb2_grpc import EventServiceStub


SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """The database file of an empty shop."""
    file = tmp_path / "endcap.db"
    await migrate(f"sqlite:///{file}")
    database = await open_database(f"sqlite:///{file}")
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=0)
    await database.close()
    return file


async def start(file: Path, address: str) -> asyncio.subprocess.Process:
    """Start ``endcap serve``."""
    settings = {"ENDCAP_DATABASE_URL": f"sqlite:///{file}", "ENDCAP_ADDRESS": address}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "endcap.cli", "serve"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | settings,
    )


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Give the process of a server that answers, and its port; kill it where it does not end by itself."""
    process = await start(file, "127.0.0.1:0")
    try:
        yield process, (await logged(process, "serving"))["port"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def logged(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """Read a process's log up to an event."""
    assert process.stdout is not None
    async for line in process.stdout:
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == event:
            return entry
    raise AssertionError(f"the process ended before {event!r}")


async def rejection(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    """Ask until the server takes no more calls."""
    catalog = CatalogServiceStub(channel)
    while True:
        try:
            await catalog.GetItem(GetItemRequest(item_id="unheard-of"))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                return error


async def test_sigterm_lets_a_call_finish_and_takes_no_new_one(file: Path) -> None:
    view = Event(event_id="1", type="view", visitor_id="eve", item_id="mug")
    async with (
        serving(file) as (process, port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        asyncio.timeout(20),
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        states = [(await watch.read()).status]
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            call = EventServiceStub(channel).RecordEvents(RecordEventsRequest(events=[view]), timeout=20)
            await health.Check(health_pb2.HealthCheckRequest())  # an answer to a later call: ours is there
            process.send_signal(signal.SIGTERM)
            states.append((await watch.read()).status)
            watch.cancel()
            rejected = await rejection(channel)
            was_in_flight = not call.done()
        recorded = await call
        exit_status = await process.wait()

    assert states == [SERVING, NOT_SERVING]
    assert was_in_flight
    assert rejected.code() is grpc.StatusCode.UNAVAILABLE
    assert recorded.accepted_count == 1
    assert exit_status == 0
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT event_id FROM events").fetchall() == [("1",)]


async def test_calls_on_their_way_to_a_server_that_stops_hear_so_and_may_be_repeated(file: Path) -> None:
    application = Application(Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}"))
    await application.start()

    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        callers = [asyncio.create_task(rejection(channel)) for _ in range(32)]
        await asyncio.sleep(0.1)
        await application.stop()
        rejections = await asyncio.gather(*callers)

    assert {error.code() for error in rejections} == {grpc.StatusCode.UNAVAILABLE}


async def outcomes(address: str, stopped: asyncio.Event) -> set[grpc.StatusCode]:
    """Ask without a pause, rejected or not, until the server has stopped; return how calls ended."""
    codes = set()
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        catalog = CatalogServiceStub(channel)
        while not stopped.is_set():
            try:
                await catalog.GetItem(GetItemRequest(item_id="unheard-of"))
            except grpc.aio.AioRpcError as error:
                codes.add(error.code())
    return codes


async def test_clients_that_go_on_calling_a_server_that_stops_hear_nothing_but_that_it_is_unavailable(
    file: Path,
) -> None:
    application = Application(Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}"))
    await application.start()
    stopped = asyncio.Event()

    address = f"127.0.0.1:{application.port}"
    callers = [asyncio.create_task(outcomes(address, stopped)) for _ in range(32)]
    await asyncio.sleep(0.5)
    await application.stop()
    stopped.set()
    codes = set().union(*await asyncio.gather(*callers))

    assert codes == {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE}


async def test_a_call_that_outlasts_the_drain_hears_that_the_server_is_unavailable(file: Path) -> None:
    application = Application(
        Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}", drain_seconds=0.2)
    )
    await application.start()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
            other.execute("BEGIN IMMEDIATE")
            view = Event(event_id="1", type="view", visitor_id="eve", item_id="mug")
            call = EventServiceStub(channel).RecordEvents(RecordEventsRequest(events=[view]), timeout=20)
            await asyncio.sleep(0.2)
            stopping = asyncio.create_task(application.stop())
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            other.execute("ROLLBACK")
            await stopping

    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_closing_the_connections_of_one_port_leaves_others_alone_and_opens_no_files() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine, socket.create_server(("127.0.0.1", 0)) as other:
        files = len(list(Path("/proc/self/fd").iterdir()))
        hang_up(mine.getsockname()[1])
        assert len(list(Path("/proc/self/fd").iterdir())) == files
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(mine.getsockname())
        socket.create_connection(other.getsockname()).close()


async def test_a_second_server_on_a_port_ends_with_a_sentence_and_the_first_goes_on(file: Path) -> None:
    async with serving(file) as (_, port), asyncio.timeout(20):
        second = await start(file, f"127.0.0.1:{port}")
        _, errors = await second.communicate()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())

    assert second.returncode == 1
    assert f"Error: 127.0.0.1:{port} is taken: stop what listens there or choose another" in errors.decode()
    assert b"Traceback" not in errors
    assert answer.status == SERVING


def open_files() -> list[Path]:
    """Return the files that this process has open."""
    return [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


async def test_a_server_that_cannot_start_leaves_nothing_open(file: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="is taken"):
            await Application(Settings(address=address, database_url=f"sqlite:///{file}")).start()

    assert file not in open_files()


async def test_a_server_that_was_not_started_can_be_stopped(file: Path) -> None:
    application = Application(Settings(address="127.0.0.1:0", database_url=f"sqlite:///{file}"))

    await application.stop()

    assert application.port == 0

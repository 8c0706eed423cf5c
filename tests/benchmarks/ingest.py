"""What recording events takes, in the event writer and over gRPC, against a bare sqlite3 on the same disk.

Run it with ``python tests/benchmarks/ingest.py``. Batches of 1,000 come from 8 callers at once. The server,
the client and the flood are processes of their own, so on two cores they are in each other's way. Every round
measures each of them in turn.

What a group commit gains depends on how long the disk takes to sync, which is printed. To see it as on a
slower disk, let strace hold up each sync, here by 4 ms::

    strace -f --seccomp-bpf -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit=4000 \\
        python tests/benchmarks/ingest.py
"""

import argparse
import asyncio
import gc
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import grpc

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.loading import load_shop
from endcap.client import AsyncClient, Options
from endcap.client.requests import name_events
from endcap.server.api.convert.events import read_event
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import DURABILITY_BUFFERED, DURABILITY_DURABLE, Durability


CALLERS = 64
ITEMS, USERS = 2_000, 20_000

_SERVE = """
import asyncio, sys
from endcap.server.app import Application
from endcap.server.settings import Settings

class Told(Application):
    async def start(self):
        await super().start()
        print(f"port {self.port}", flush=True)

asyncio.run(Told(Settings()).run())
"""


def main() -> None:
    """Print events a second, and what a flood of them does to recommendations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="of a round in batches of 1,000")
    parser.add_argument("--singles", type=int, default=5_000, help="of a round in batches of 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the databases go; a temporary one")
    parser.add_argument("--flood", metavar="ADDRESS", help="only send events there until SIGTERM")
    chosen = parser.parse_args()
    if chosen.flood:
        asyncio.run(flooding(chosen.flood))
        return
    with TemporaryDirectory(dir=chosen.folder) as folder, serving(Path(folder)) as address:
        asyncio.run(measure(address, Path(folder), chosen.events, chosen.singles, chosen.rounds))


async def measure(address: str, folder: Path, count: int, singles: int, rounds: int) -> None:
    """Take turns between the bare database and the server, so that both see the same disk."""
    rates: dict[str, list[float]] = {}
    print(f"a sync of the disk: {sync_milliseconds(folder / 'synced'):.2f} ms")
    bare = Bare(folder / "bare.db")
    writer = await Writer.open(f"sqlite:///{folder / 'writer.db'}")
    async with AsyncClient(address, Options(deadline=60)) as client:
        await record(client, 5_000, batch=1_000, callers=8)
        for _ in range(rounds):
            for name, rate in (
                ("bare 1000", bare.record(count, batch=1_000)),
                ("writer 1000", await writer.record(count, batch=1_000, callers=8)),
                ("durable 1000", await record(client, count, batch=1_000, callers=8)),
                (
                    "buffered 1000",
                    await record(client, count, batch=1_000, callers=8, durability=DURABILITY_BUFFERED),
                ),
                ("bare 1", bare.record(singles // 10, batch=1)),
                ("writer 1", await writer.record(singles, batch=1, callers=CALLERS)),
                ("durable 1", await record(client, singles, batch=1, callers=CALLERS)),
            ):
                rates.setdefault(name, []).append(rate)
        bare.close()
        await writer.close()
        medians = {name: statistics.median(values) for name, values in rates.items()}
        for name, values in rates.items():
            print(f"{name:>14}: {medians[name]:>9,.0f} events/s  ({', '.join(f'{v:,.0f}' for v in values)})")
        for batch in ("1000", "1"):
            bare_rate = medians[f"bare {batch}"]
            shares = (
                f"{name} {medians[f'{name} {batch}'] / bare_rate:.2f}" for name in ("writer", "durable")
            )
            print(f"batches of {batch}, of the bare: {', '.join(shares)}")
    await measure_flood(address)


async def measure_flood(address: str) -> None:
    """Ask for recommendations one by one, alone and beside a flood of events."""
    async with AsyncClient(address, Options(deadline=60)) as client:
        alone = await waits(client, 500)
        command = [sys.executable, __file__, "--flood", address]
        flood = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await asyncio.sleep(5)  # for it to begin
        beside = await waits(client, 500)
        flood.terminate()
        printed, _ = await flood.communicate()
    for name, times in (("alone", alone), ("in a flood", beside)):
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        print(f"recommend {name:>10}: p50 {p50:6.1f} ms, p99 {p99:6.1f} ms")
    print(printed.decode(), end="")


async def record(
    client: AsyncClient,
    count: int,
    *,
    batch: int,
    callers: int,
    durability: Durability.ValueType = DURABILITY_DURABLE,
) -> float:
    """Record events from many callers at once and return events a second."""
    batches = iter([list(events(batch)) for _ in range(count // batch)])

    async def call() -> None:
        for each in batches:
            while not await accepted(client, each, durability):
                pass

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return count / (time.perf_counter() - started)


async def accepted(client: AsyncClient, batch: list[Event], durability: Durability.ValueType) -> bool:
    """Record a batch; False, after a moment, when the server's queue is full."""
    try:
        await client.record_events(batch, durability=durability)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        await asyncio.sleep(0.01)
        return False
    return True


async def flooding(address: str) -> None:
    """Send batches from many callers until the process is told to stop; print how many went through."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    batches = [list(events(100)) for _ in range(1_000)]
    taken = refused = 0

    async def call() -> None:
        nonlocal taken, refused
        while not stop.is_set():
            batch = random.choice(batches)
            for event in batch:
                event.event_id = ""
            if await accepted(client, batch, DURABILITY_DURABLE):
                taken += len(batch)
            else:
                refused += 1

    started = time.perf_counter()
    async with AsyncClient(address, Options(deadline=60)) as client:
        await asyncio.gather(*(call() for _ in range(CALLERS)))
    seconds = time.perf_counter() - started
    print(f"the flood: {taken / seconds:,.0f} events/s taken in, {refused / seconds:,.0f} calls/s refused")


async def waits(client: AsyncClient, count: int) -> list[float]:
    """Return the milliseconds that recommendations take, one after the other."""
    times = []
    for number in range(count):
        started = time.perf_counter()
        await client.recommend("home", user_id=f"user-{number}")
        times.append((time.perf_counter() - started) * 1000)
    return times


class Writer:
    """The event writer of the catalog and histories, in this process: what the server does without gRPC."""

    def __init__(self, database: Database, histories: Histories) -> None:
        self._database = database
        self._histories = histories
        self._writer = EventWriter(
            database,
            lambda _shop, events, revision: histories.apply(events, revision),
        )

    @classmethod
    async def open(cls, url: str) -> Self:
        """Create a shop of items and open it."""
        await create(url)
        database = await open_database(url)
        loaded = await load_shop(database, "default", now=int(time.time() * 1000))
        return cls(database, loaded.histories)

    async def record(self, count: int, *, batch: int, callers: int) -> float:
        """Record events from many callers at once and return events a second."""
        now = int(time.time() * 1000)
        read = [read_event(event, now=now, settings=ShopSettings()) for event in events(count)]
        gc.collect()
        gc.freeze()  # the server holds no events that are still to come
        batches = iter([read[start : start + batch] for start in range(0, count, batch)])

        async def call() -> None:
            for each in batches:
                await self._writer.record("default", each, self._histories)

        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        return count / (time.perf_counter() - started)

    async def close(self) -> None:
        """Close the file."""
        await self._writer.close()
        await self._database.close()


class Bare:
    """The least that stores events durably: the same columns and indices, and nothing else done."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with closing(sqlite3.connect(path.with_name("endcap.db"))) as ours:
            query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL"
            for (statement,) in ours.execute(query):
                self._connection.execute(statement)

    def record(self, count: int, *, batch: int) -> float:
        """Insert events and return events a second."""
        rows = [row(event) for event in events(count)]
        marks = ", ".join("?" * len(rows[0]))
        insert = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({marks})"
        started = time.perf_counter()
        for start in range(0, count, batch):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(insert, rows[start : start + batch])
            self._connection.execute("COMMIT")
        return count / (time.perf_counter() - started)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


COLUMNS = (
    "shop",
    "event_id",
    "type",
    "user_id",
    "item_id",
    "time",
    "quantity",
    "currency",
    "attribution_token",
    "order_id",
    "properties",
    "revision",
)


def row(event: Event) -> tuple[object, ...]:
    """Return an event as the bare database keeps it."""
    return (
        "default",
        event.event_id,
        event.type,
        event.user_id,
        event.item_id,
        event.time.ToMilliseconds(),
        1.0,
        "",
        "",
        "",
        "{}",
        1,
    )


def events(count: int) -> Iterator[Event]:
    """Yield views of random users and items, with the ids that a client gives."""
    now = int(time.time() * 1000)
    for _ in range(count):
        event = Event(
            type="view",
            user_id=f"user-{random.randrange(USERS)}",
            item_id=f"item-{random.randrange(ITEMS)}",
        )
        event.time.FromMilliseconds(now - random.randrange(86_400_000))
        name_events([event])
        yield event


def sync_milliseconds(path: Path) -> float:
    """Return the median time that the disk takes to sync a page that was appended to a file."""
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4_096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a shop of items from a process of its own; gives the address."""
    url = f"sqlite:///{folder / 'endcap.db'}"
    asyncio.run(create(url))
    environment = {
        **os.environ,
        "ENDCAP_ADDRESS": "127.0.0.1:0",
        "ENDCAP_DATABASE_URL": url,
        "ENDCAP_LOG_LEVEL": "error",
    }
    command: Sequence[str] = [sys.executable, "-c", _SERVE]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = next(line for line in process.stdout if line.startswith("port ")).split()[1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


async def create(url: str) -> None:
    """Create the shop."""
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        items = [Item(f"item-{number}") for number in range(ITEMS)]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    await database.close()


if __name__ == "__main__":
    main()

"""Events are synced to disk before they are acknowledged, as the kernel sees it.

Killing a process cannot show this: what it wrote survives it unsynced, and is lost when the power is cut.
"""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate


CALLERS = 8
CALLS = 10
"""Calls of each caller, one after the other."""

_RECORD = """
import asyncio, os, sys
from sqlalchemy import event
from sqlalchemy.pool import Pool
from endcap.catalog.database.engine import open_database
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.events.events import Event

url, synchronous, callers, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

@event.listens_for(Pool, "checkout")
def set_synchronous(connection, *_):
    if synchronous:
        connection.cursor().execute(f"PRAGMA synchronous={synchronous}")

async def record(writer, caller):
    for number in range(calls):
        event = Event(f"{caller}-{number}", "view", "mug", 1, user_id="ann")
        os.write(1, f"SEND {event.event_id}\\n".encode())
        await writer.record("default", [event])
        os.write(1, f"ACKNOWLEDGED {event.event_id}\\n".encode())

async def main():
    database = await open_database(url)
    writer = EventWriter(database, lambda shop, events, revision: None)
    await asyncio.gather(*(record(writer, caller) for caller in range(callers)))
    await writer.close()
    await database.close()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def strace() -> str:
    """The program, where it is installed and may trace."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    if subprocess.run([program, "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a process trace another one")
    return program


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """A database of SQLite, which syncs in our own process, with the shop ``default``."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=0)
    await database.close()
    return url


async def unsynced(strace: str, url: str, folder: Path, synchronous: str = "") -> list[str]:
    """Record events in a traced process, and return those that were acknowledged without a sync.

    Args:
        strace: The program.
        url: The database.
        folder: Where the trace is kept.
        synchronous: What SQLite's setting is changed to; empty for our own.
    """
    trace = folder / "trace"
    process = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-y", "-s", "64", "-e", "trace=fdatasync,fsync,write", "-o", trace),
        *(sys.executable, "-c", _RECORD, url, synchronous, str(CALLERS), str(CALLS)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return without_sync(trace.read_text(encoding="utf-8"))


def without_sync(trace: str) -> list[str]:
    """Return the events of a trace whose sending and acknowledgement have no whole sync between them."""
    sent: dict[str, int] = {}
    began: dict[str, int] = {}  # by thread
    newest_synced = -1  # where the newest sync that has ended began
    unsynced = []
    for place, line in enumerate(trace.splitlines()):
        thread = line.split(maxsplit=1)[0]
        if re.search(r"f(data)?sync\(.*-wal>", line):
            began[thread] = place
        if re.search(r"f(data)?sync.*= 0$", line) and thread in began:
            newest_synced = max(newest_synced, began.pop(thread))
        if found := re.search(r'"SEND (\S+)\\n"', line):
            sent[found[1]] = place
        if (found := re.search(r'"ACKNOWLEDGED (\S+)\\n"', line)) and newest_synced < sent.pop(found[1]):
            unsynced.append(found[1])
    assert not sent
    return unsynced


async def test_every_event_is_synced_before_it_is_acknowledged(strace: str, url: str, tmp_path: Path) -> None:
    assert await unsynced(strace, url, tmp_path) == []


async def test_the_check_finds_events_that_are_acknowledged_unsynced(
    strace: str, url: str, tmp_path: Path
) -> None:
    found = await unsynced(strace, url, tmp_path, synchronous="NORMAL")

    assert len(found) > CALLERS * CALLS // 2

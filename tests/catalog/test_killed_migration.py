"""A migration that is killed between two of its steps leaves the old schema and what is in it."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from endcap.catalog.database import open_database
from endcap.catalog.migration import migrate
from endcap.catalog.migration_plan import plan_migration
from endcap.catalog.migrations import HEAD
from endcap.catalog.shops import get_shop


OLD = "0001"

_DIE_AFTER_A_STEP = """
import asyncio, os, signal, sys
from alembic.runtime.migration import HeadMaintainer
from endcap.catalog.migration import migrate

url, last = sys.argv[1:]
update = HeadMaintainer.update_to_step

def update_and_die(self, step):
    update(self, step)
    if last in self.heads:
        os.kill(os.getpid(), signal.SIGKILL)

HeadMaintainer.update_to_step = update_and_die
asyncio.run(migrate(url))
"""


@pytest.fixture
async def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of the oldest schema, with a shop in it."""
    file = tmp_path / "endcap.db"
    upgrade = command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _: upgrade(config, OLD))
        await migrate(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "INSERT INTO shops (id, currency, settings, token_key, revision, created_time)"
            " VALUES ('default', 'GBP', '{\"event_weights\": {}}', x'00', 7, 1)"
        )
    return file


def tables(file: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()


async def test_a_migration_that_is_killed_after_any_step_is_done_whole_by_the_next_one(file: Path) -> None:
    url = f"sqlite:///{file}"
    before = tables(file)
    steps = (await plan_migration(url)).steps

    for step in steps:
        killed = subprocess.run([sys.executable, "-c", _DIE_AFTER_A_STEP, url, step.revision], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert tables(file) == before
        assert (await plan_migration(url)).steps == steps
    await migrate(url)

    assert [step.revision for step in steps] == [f"{number:04}" for number in range(2, int(HEAD) + 1)]
    database = await open_database(url)
    async with database.read() as connection:
        shop = await get_shop(connection=connection, shop="default")
        integrity = (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar()
    await database.close()
    assert (shop.currency, integrity) == ("GBP", "ok")

"""A migration that is killed between two of its steps leaves the old schema and what is in it."""

import asyncio
import signal
import subprocess
import sys

import pytest
from sqlalchemy import Connection, insert, inspect

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.migration_plan import plan_migration
from endcap.catalog.database.migrations import HEAD
from endcap.catalog.database.tables import SHOPS


_DIE_AFTER_A_STEP = """
import asyncio, os, signal, sys
from alembic.runtime.migration import HeadMaintainer
from endcap.catalog.database.migration import migrate

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
async def old_url(empty_url: str) -> str:
    """A database of the oldest schema, with a shop in it."""
    await migrate(empty_url, target="0001")
    database = Database(empty_url)
    async with database.write() as connection:
        values = {"id": "default", "currency": "GBP", "settings": {"event_weights": {}}, "token_key": b"0"}
        await connection.execute(insert(SHOPS).values(**values, revision=7, created_time=1))
    await database.close()
    return empty_url


async def columns(url: str) -> dict[str, list[str]]:
    """Return the names of the columns by table, and of the virtual ones of SQLite too."""

    def read(connection: Connection) -> dict[str, list[str]]:
        found = inspect(connection)
        return {
            name: [column["name"] for column in found.get_columns(name)] for name in found.get_table_names()
        }

    database = Database(url)
    async with database.read() as connection:
        names = await connection.run_sync(read)
    await database.close()
    return names


async def test_a_migration_that_is_killed_after_any_step_is_done_whole_by_the_next_one(old_url: str) -> None:
    before = await columns(old_url)
    steps = (await plan_migration(old_url)).steps

    for step in steps:
        command = [sys.executable, "-c", _DIE_AFTER_A_STEP, old_url, step.revision]
        killed = await asyncio.to_thread(subprocess.run, command, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert await columns(old_url) == before
        assert (await plan_migration(old_url)).steps == steps
    await migrate(old_url)

    assert [step.revision for step in steps] == [f"{number:04}" for number in range(2, int(HEAD) + 1)]
    database = await open_database(old_url)
    async with database.read() as connection:
        shop = await get_shop(connection=connection, shop="default")
        if connection.dialect.name == "sqlite":
            assert (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar() == "ok"
    await database.close()
    assert (shop.currency, shop.revision) == ("GBP", 7)

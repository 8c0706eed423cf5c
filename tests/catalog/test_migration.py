"""The migrations and the tables say the same."""

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from endcap.catalog import migrations
from endcap.catalog.database import Database, open_database
from endcap.catalog.migration import migrate
from endcap.catalog.tables import METADATA
from endcap.sdk.errors import FailedPrecondition


_DIE_BEFORE_THE_COMMIT = """
import asyncio, os, sys
from alembic import command
from endcap.catalog.migration import migrate
upgrade = command.upgrade
command.upgrade = lambda *arguments: (upgrade(*arguments), os._exit(9))
asyncio.run(migrate(sys.argv[1]))
"""


def _exit_status_of_a_dying_migration(url: str) -> int:
    return subprocess.run([sys.executable, "-c", _DIE_BEFORE_THE_COMMIT, url], check=False).returncode


async def test_migrations_lead_to_the_tables(catalog_database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with catalog_database.read() as connection:
        assert await connection.run_sync(differences) == []


def test_the_newest_revision_is_the_one_this_release_names() -> None:
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])

    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


async def test_migrating_again_changes_nothing(catalog_database: Database, catalog_url: str) -> None:
    await migrate(catalog_url)

    await (await open_database(catalog_url)).close()


async def test_a_newer_schema_is_left_alone(catalog_database: Database, catalog_url: str) -> None:
    async with catalog_database.write() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(FailedPrecondition, match="newer release"):
        await migrate(catalog_url)


async def test_a_migration_that_dies_on_the_way_leaves_nothing_behind(catalog_url: str) -> None:
    assert _exit_status_of_a_dying_migration(catalog_url) == 9
    with pytest.raises(FailedPrecondition, match="no schema"):
        await open_database(catalog_url)
    await migrate(catalog_url)
    await (await open_database(catalog_url)).close()

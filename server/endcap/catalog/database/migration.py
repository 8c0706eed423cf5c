"""Migrating a database to the schema of this release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from endcap.catalog.database import migrations
from endcap.catalog.database.engine import Database
from endcap.catalog.database.migrations import HEAD
from endcap.catalog.database.schema import reject_newer, schema_version


async def migrate(url: str, *, target: str = HEAD) -> None:
    """Migrate a database to a schema; create a missing file and its folder.

    All revisions run in one transaction, so a process that dies midway leaves the old schema.

    Args:
        url: The URL, as for ``open_database``.
        target: The revision to reach. An earlier revision than the database has loses the data that later
            revisions added.

    Raises:
        InvalidInput: The URL is not that of a supported database.
        FailedPrecondition: The schema is newer than this release, or the database cannot be written.
        Unavailable: Another process is changing the schema, or the database does not answer.
    """
    async with Database(url, migrating=True) as database, database.write() as connection:
        await connection.run_sync(_migrate, target)


def _migrate(connection: Connection, target: str) -> None:
    found = schema_version(connection)
    reject_newer(found)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    if found is not None and found > target:
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)

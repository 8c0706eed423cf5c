"""Bringing a database to the schema of this release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from endcap.catalog import migrations
from endcap.catalog.database import Database
from endcap.catalog.schema import refuse_newer, schema_version


async def migrate(url: str) -> None:
    """Bring a database to the newest schema; create a file, and its folder, where there is none.

    All revisions run in one transaction: a process that dies on the way leaves the old schema.

    Args:
        url: As for ``open_database``.

    Raises:
        InvalidInput: The URL is not one of a database that Endcap knows.
        FailedPrecondition: The schema is newer than this release, or the database cannot be written.
        Unavailable: Another process is changing the schema, or the database does not answer.
    """
    database = Database(url, migrating=True)
    try:
        async with database.write() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> None:
    refuse_newer(schema_version(connection))
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

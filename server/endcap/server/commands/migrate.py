"""The command ``endcap migrate``."""

import typer

from endcap.catalog import migration
from endcap.catalog.migrations import HEAD
from endcap.server.commands.console import run
from endcap.server.settings import Settings


def migrate() -> None:
    """Bring the database to the schema of this release, or create it; 'endcap serve' does the same."""
    run(_migrate())


async def _migrate() -> None:
    await migration.migrate(Settings().database_url)
    typer.echo(f"the database has schema {HEAD}")

"""The command ``endcap migrate``."""

from typing import Annotated

import typer

from endcap.catalog.database import migration
from endcap.catalog.database.migration_plan import plan_migration
from endcap.server.commands.terminal import command
from endcap.server.settings import read_settings


@command
async def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps and change nothing.")] = False,
) -> None:
    """Bring the database to the schema of this release, or create it; 'endcap serve' does the same."""
    url = read_settings().database_url
    plan = await plan_migration(url)
    typer.echo(f"the database has {f'schema {plan.current}' if plan.current else 'no schema'}")
    for step in plan.steps:
        typer.echo(f"  {step.revision}  {step.summary}")
    if not plan.steps:
        typer.echo("nothing to do")
    elif dry_run:
        typer.echo(f"nothing was changed: without --dry-run the database gets schema {plan.target}")
    else:
        await migration.migrate(url)
        typer.echo(f"the database has schema {plan.target}")

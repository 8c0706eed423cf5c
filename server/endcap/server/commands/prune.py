"""The command ``endcap prune``."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from endcap.catalog.configuration.shops import list_shops
from endcap.catalog.events.retention import prune_shop
from endcap.sdk.errors import NotFound
from endcap.server.commands.terminal import command, opened_database


@command
async def prune(
    shop: Annotated[str, typer.Option(help="Only this shop.", show_default="all")] = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
) -> None:
    """Delete the events and exposures that shops no longer keep, as 'endcap serve' does once a day.

    'endcap shops set' sets for how long each shop keeps them.
    """
    table = Table("Shop", "Events", "Exposures", title="would be deleted" if dry_run else "deleted")
    async with opened_database() as database:
        async with database.read() as connection:
            shops = [known.id for known in await list_shops(connection=connection)]
        if shop and shop not in shops:
            raise NotFound(f"shop {shop!r} does not exist: use one of {', '.join(shops)}")
        for each in [shop] if shop else shops:
            pruned = await prune_shop(database, each, now=int(time.time() * 1000), dry_run=dry_run)
            table.add_row(each, str(pruned.events), str(pruned.exposures))
    Console().print(table)

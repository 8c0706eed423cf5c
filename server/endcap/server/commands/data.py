"""The commands ``endcap import`` and ``endcap snapshot``."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from endcap.catalog.database import open_database
from endcap.catalog.importing import import_folder as import_into
from endcap.catalog.migration import migrate
from endcap.catalog.shops import DEFAULT_SHOP, create_shop, list_shops
from endcap.catalog.snapshots import export_snapshot
from endcap.server.commands.console import run
from endcap.server.settings import Settings


ShopOption = Annotated[str, typer.Option(help="The shop's id.")]


def import_folder(
    folder: Annotated[Path, typer.Argument(help="Holds items.parquet and events.parquet.")],
    shop: ShopOption = DEFAULT_SHOP,
    currency: Annotated[str, typer.Option(help="ISO 4217 code of the prices.")] = "",
) -> None:
    """Import items and events into a shop, which is created where there is none."""
    run(_import(folder, shop, currency))


def snapshot(
    folder: Annotated[Path, typer.Argument(help="A new folder for the snapshot.")],
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Write a snapshot of a shop for trainers."""
    run(_snapshot(folder, shop))


async def _import(folder: Path, shop: str, currency: str) -> None:
    settings = Settings()
    now = int(time.time() * 1000)
    await migrate(settings.database_url)
    database = await open_database(settings.database_url)
    try:
        async with database.write() as connection:
            if shop not in {known.id for known in await list_shops(connection=connection)}:
                await create_shop(connection=connection, shop=shop, now=now, currency=currency)
        console = Console()
        with Progress(console=console) as progress:
            bar = progress.add_task("importing events", total=None)
            report = await import_into(
                database,
                shop,
                folder,
                now=now,
                currency=currency,
                progress=lambda done, of: progress.update(bar, completed=done, total=of),
            )
        console.print(
            f"{report.items} items, {report.events} events, {report.duplicates} events known before"
        )
        for reason, count in report.rejected.items():
            console.print(f"rejected {count}: {reason}")
    finally:
        await database.close()


async def _snapshot(folder: Path, shop: str) -> None:
    database = await open_database(Settings().database_url)
    try:
        written = await export_snapshot(database, shop, folder)
    finally:
        await database.close()
    counts = ", ".join(f"{count} {name}" for name, count in written.manifest.counts.items())
    Console().print(f"{folder}: {counts}")

"""The command ``endcap models``."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from endcap.catalog.bundles import activate_bundle, list_bundles, register_bundle
from endcap.catalog.database import open_database
from endcap.catalog.shops import DEFAULT_SHOP
from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.bundle import Bundle
from endcap.sdk.publish import publish
from endcap.server.commands.console import run
from endcap.server.settings import Settings


def models(
    activate: Annotated[
        list[Path] | None, typer.Option(help="A bundle to verify, register and serve; may be repeated.")
    ] = None,
    shop: Annotated[str, typer.Option(help="The shop's id.")] = DEFAULT_SHOP,
) -> None:
    """List the bundles of a shop, after activating those that are named."""
    run(_models(activate or [], shop))


async def _models(activate: list[Path], shop: str) -> None:
    settings = Settings()
    host = PluginHost.discover()
    database = await open_database(settings.database_url)
    try:
        for source in activate:
            load_bundle(source, host)
            bundle = Bundle.open(source)
            manifest = bundle.manifest
            kept = (settings.bundles_folder / shop / manifest.model / manifest.version).absolute()
            if not kept.exists():
                with publish(kept) as staging:
                    shutil.copytree(source, staging, dirs_exist_ok=True)
            now = int(time.time() * 1000)
            async with database.write() as connection:
                await register_bundle(
                    connection=connection,
                    shop=shop,
                    model=manifest.model,
                    version=manifest.version,
                    path=str(kept),
                    manifest=asdict(manifest),
                    checksum=bundle.checksum,
                    size_bytes=bundle.size,
                    item_count=len(bundle.vocabulary),
                    now=now,
                )
                await activate_bundle(
                    connection=connection, shop=shop, model=manifest.model, version=manifest.version, now=now
                )
        table = Table("Model", "Version", "State")
        async with database.read() as connection:
            for listed in await list_bundles(connection=connection, shop=shop):
                table.add_row(listed.model, listed.version, listed.state)
        Console().print(table)
    finally:
        await database.close()

"""The commands ``endcap models …``."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from endcap.catalog.configuration.bundles import list_bundles
from endcap.catalog.configuration.shops import DEFAULT_SHOP
from endcap.catalog.database.engine import Database
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import InvalidInput
from endcap.server.commands.terminal import ShopOption, command, opened_database
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.promotion import DEFAULT_GATE, Gate, promote
from endcap.server.models.registry import ModelRegistry
from endcap.server.settings import read_settings


models = typer.Typer(
    help="Bring trained models into service and take them out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_NAMED = re.compile(r"(?P<model>[a-z0-9_]+)@(?P<version>[a-z0-9-]+)")

Folders = Annotated[list[Path], typer.Argument(metavar="FOLDER…", help="Bundles, as 'endcap train' writes.")]
Bundles = Annotated[
    list[str],
    typer.Argument(metavar="BUNDLE…", help="Folders of bundles, or MODEL@VERSION of registered ones."),
]
GateMetric = Annotated[str, typer.Option(help="The measure that decides, as in the bundles' manifests.")]
GateMargin = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the active bundle's figure that a new one may lose.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]


@models.command("list")
@command
async def list_registered(shop: ShopOption = DEFAULT_SHOP) -> None:
    """List the bundles of a shop."""
    async with open_registry() as (_, database), database.read() as connection:
        bundles = await list_bundles(connection=connection, shop=shop)
    # Versions are there to be copied into the next command.
    version = Column("Version", no_wrap=True)
    table = Table(Column("Model", no_wrap=True), version, "State", "Items", "MiB", "Measured")
    for bundle in bundles:
        measured = ", ".join(f"{name} {value:.4f}" for name, value in bundle.manifest["metrics"].items())
        table.add_row(
            bundle.model,
            bundle.version,
            bundle.refusal or bundle.state,
            f"{bundle.item_count:,}",
            f"{bundle.size_bytes / 2**20:,.1f}",
            measured,
        )
    Console().print(table)


@models.command()
@command
async def verify(bundles: Bundles, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Load bundles, check them with their golden queries, and change nothing."""
    async with open_registry() as (registry, _):
        for bundle in bundles:
            if named := _NAMED.fullmatch(bundle):
                await registry.check(shop, named["model"], named["version"])
            else:
                await registry.register(shop, Path(bundle), validate_only=True)
            typer.echo(f"{bundle} may serve")


@models.command()
@command
async def register(folders: Folders, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Check bundles and copy them to where the server keeps them; they do not serve yet."""
    async with open_registry() as (registry, _):
        for folder in folders:
            bundle = await registry.register(shop, folder)
            typer.echo(f"registered {bundle.model}@{bundle.version}")


@models.command()
@command
async def activate(bundles: Bundles, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Check bundles and serve with them; those that served before are kept for a rollback."""
    async with open_registry() as (registry, _):
        for bundle in bundles:
            if named := _NAMED.fullmatch(bundle):
                model, version = named["model"], named["version"]
            else:
                registered = await registry.register(shop, Path(bundle))
                model, version = registered.model, registered.version
            await registry.activate(shop, model, version)
            typer.echo(f"{model}@{version} is active")


@models.command("promote")
@command
async def promote_folders(
    folders: Folders,
    metric: GateMetric = DEFAULT_GATE.metric,
    margin: GateMargin = DEFAULT_GATE.margin,
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Serve with bundles that measure no worse than the active ones; print why the others do not serve."""
    not_promoted = False
    async with open_registry() as (registry, _):
        for folder in folders:
            verdict = await promote(registry, shop, folder, Gate(metric, margin))
            typer.echo(f"{folder} {'promoted' if verdict.promoted else 'not promoted'}: {verdict.reason}")
            not_promoted = not_promoted or not verdict.promoted
    if not_promoted:
        raise typer.Exit(1)


@models.command()
@command
async def rollback(model: ModelArgument, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Serve again with the bundle that was active before."""
    async with open_registry() as (registry, _):
        activation = await registry.roll_back(shop, model)
    typer.echo(f"{model}@{activation.loaded.version} is active")


@models.command()
@command
async def delete(
    bundle: Annotated[str, typer.Argument(metavar="MODEL@VERSION")], shop: ShopOption = DEFAULT_SHOP
) -> None:
    """Delete a bundle that is not active, with its files."""
    named = _NAMED.fullmatch(bundle)
    if named is None:
        raise InvalidInput(f"{bundle!r} is not MODEL@VERSION: 'endcap models list' shows the bundles")
    async with open_registry() as (registry, _):
        await registry.delete(shop, named["model"], named["version"])
        typer.echo(f"deleted {bundle}")


@models.command()
@command
async def prune(
    shop: ShopOption = DEFAULT_SHOP,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="Bundles to keep of each model that served, instead of ENDCAP_KEPT_BUNDLES."
        ),
    ] = None,
) -> None:
    """Delete the bundles that served longest ago, and files that belong to no bundle."""
    async with open_registry() as (registry, _):
        for bundle in await registry.prune(shop, kept=keep):
            typer.echo(f"deleted {bundle.model}@{bundle.version}")


@asynccontextmanager
async def open_registry() -> AsyncIterator[tuple[ModelRegistry, Database]]:
    """Open the database and what keeps the bundles that are registered in it."""
    settings, host = read_settings(), PluginHost.discover()
    async with opened_database() as database:
        loaded = LoadedModels(host, settings.bundles_folder)
        yield (
            ModelRegistry(database, host, loaded, store=settings.bundle_store, kept=settings.kept_bundles),
            database,
        )

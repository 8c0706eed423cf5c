"""The commands ``endcap placements …``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from rich.console import Console
from rich.table import Table

from endcap.catalog.configuration.audit_log import PlacementChange, list_changes
from endcap.catalog.configuration.placements import Placement, get_placement, list_placements
from endcap.catalog.configuration.shops import DEFAULT_SHOP, get_shop
from endcap.catalog.database.engine import Database
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.server.admin.placements import PlacementEditor
from endcap.server.api.convert.placements import read_placement, read_update, write_placement, write_task
from endcap.server.commands.terminal import ShopOption, command, command_caller, moment, opened_database
from endcap.v1 import placement_pb2


placements = typer.Typer(
    help="Say what shows where. A server that runs takes a change over within ENDCAP_REFRESH_SECONDS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_BOOKKEEPING = ("etag", "create_time", "update_time")

PlacementArgument = Annotated[str, typer.Argument(metavar="PLACEMENT", help="The placement's id.")]


@placements.command("list")
@command
async def list_all(shop: ShopOption = DEFAULT_SHOP) -> None:
    """List the placements of a shop."""
    async with _opened(shop) as database, database.read() as connection:
        found = await list_placements(connection=connection, shop=shop)
    table = Table("Placement", "Name", "Task", "Strategies", "Rules")
    for placement in found:
        strategies = ", ".join(rung.strategy for rung in placement.ladder)
        rules = ", ".join(rule.name for rule in placement.rules)
        table.add_row(placement.id, placement.display_name, placement.task, strategies, rules)
    Console().print(table)


@placements.command()
@command
async def show(placement: PlacementArgument, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Print a placement as JSON, which 'put --file' takes back."""
    async with _opened(shop) as database, database.read() as connection:
        found = await get_placement(connection=connection, shop=shop, placement_id=placement)
    typer.echo(_json(found))


@placements.command()
@command
async def put(
    placement: PlacementArgument,
    *,
    task: Annotated[Task | None, typer.Option(help="The kind of answer that the placement gives.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="A strategy, in the order that they are asked.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON of the whole placement, rules included."),
    ] = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check only; store nothing.")
    ] = False,
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Create a placement, or change the fields that the options name, or replace all of it by a file."""
    wanted = placement_pb2.Placement(
        task=write_task(task) if task else placement_pb2.Placement().task,
        ladder=[placement_pb2.Rung(strategy=name) for name in strategy or ()],
    )
    mask: FieldMask | None = FieldMask(paths=[field.name for field, _ in wanted.ListFields()])
    caller = command_caller(shop, validate_only=validate_only)
    if file is not None:
        written = _read_file(file)
        written.MergeFrom(wanted)
        wanted, mask = written, None
    if wanted.id not in {"", placement}:
        raise InvalidInput(f"{file} holds the placement {wanted.id!r}, not {placement!r}: name {wanted.id!r}")
    wanted.id = placement
    async with _opened(caller.shop) as database:
        editor = PlacementEditor(database, PluginHost.discover())
        try:
            stored = await editor.update(
                caller, placement, lambda before: read_update(before, wanted, mask), etag=wanted.etag
            )
        except NotFound:
            stored = await editor.create(caller, read_placement(wanted))
    typer.echo(_json(stored))


@placements.command()
@command
async def delete(placement: PlacementArgument, shop: ShopOption = DEFAULT_SHOP) -> None:
    """Delete a placement; its changes are kept."""
    async with _opened(shop) as database:
        await PlacementEditor(database, PluginHost.discover()).delete(command_caller(shop), placement)
    typer.echo(f"deleted {placement}")


@placements.command()
@command
async def changes(
    placement: Annotated[str, typer.Argument(metavar="[PLACEMENT]", help="Empty for all of them.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many changes to show.")] = 20,
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Show the changes of placements with actor and time, the newest first."""
    async with _opened(shop) as database, database.read() as connection:
        found = await list_changes(connection=connection, shop=shop, limit=limit, placement_id=placement)
    table = Table("When", "Placement", "What", "Who", "Call")
    for change in found:
        what = _what_changed(change)
        table.add_row(moment(change.time), change.placement_id, what, change.actor, change.request_id)
    Console().print(table)


@asynccontextmanager
async def _opened(shop: str) -> AsyncIterator[Database]:
    """Open the database, and check that the shop exists."""
    async with opened_database() as database:
        async with database.read() as connection:
            await get_shop(connection=connection, shop=shop)
        yield database


def _read_file(file: Path) -> placement_pb2.Placement:
    try:
        return Parse(file.read_text(encoding="utf-8"), placement_pb2.Placement())
    except (ParseError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is not the JSON of a placement: {error}") from error


def _json(placement: Placement) -> str:
    return MessageToJson(write_placement(placement), preserving_proto_field_name=True)


def _what_changed(change: PlacementChange) -> str:
    if change.before is None or change.after is None:
        return "created" if change.after else "deleted"
    before, after = write_placement(change.before), write_placement(change.after)
    names = [field.name for field in before.DESCRIPTOR.fields if field.name not in _BOOKKEEPING]
    return ", ".join(name for name in names if getattr(before, name) != getattr(after, name)) or "nothing"

"""The commands ``endcap backup`` and ``endcap restore``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from endcap.catalog.backup.backup import back_up
from endcap.catalog.backup.backup import restore as restore_database
from endcap.server.commands.terminal import command
from endcap.server.settings import read_settings


@command
async def backup(file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write the whole database to a file, while servers run; the files of models are not in it."""
    settings = read_settings()
    await back_up(settings.database_url, file)
    size = (await asyncio.to_thread(file.stat)).st_size
    typer.echo(f"{file}: {size:,} bytes, checked")
    typer.echo(f"the files of models are not in it: copy {settings.bundles_folder} too, now")


@command
async def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'endcap backup' wrote.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the shops that the database holds.")
    ] = False,
) -> None:
    """Bring the database to what a backup holds, all of it or nothing; servers that run take it over."""
    settings = read_settings()
    forgotten = await restore_database(settings.database_url, file, replace=replace)
    typer.echo(f"the database holds what is in {file}")
    if forgotten:
        typer.echo(f"but for {forgotten} users and visitors in it who were deleted later")
    typer.echo(f"the files of models are not in it: put back {settings.bundles_folder} from the same day too")

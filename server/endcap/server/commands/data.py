"""The commands ``endcap import`` and ``endcap snapshot``."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from endcap.catalog.configuration.shops import DEFAULT_SHOP, ShopRecord, change_shop, create_shop, find_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.fields.checks import check_currency
from endcap.catalog.importing.importer import ImportStep, check_files, import_files
from endcap.catalog.importing.report import ImportReport
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import Layout, Source, find_sources, has_amounts, parse_assignments
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.sdk.errors import FailedPrecondition, InvalidInput, Unavailable
from endcap.server.commands.readiness import print_readiness
from endcap.server.commands.terminal import ShopOption, command, opened_database
from endcap.server.settings import read_settings


@command
async def import_folder(
    folder: Annotated[
        Path | None, typer.Argument(help="Holds files named items, users and events.", show_default=False)
    ] = None,
    *,
    shop: ShopOption = DEFAULT_SHOP,
    currency: Annotated[str, typer.Option(help="ISO 4217 code of the prices.")] = "",
    items: Annotated[Path | None, typer.Option(help="A file of items.")] = None,
    users: Annotated[Path | None, typer.Option(help="A file of users.")] = None,
    events: Annotated[Path | None, typer.Option(help="A file of events.")] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--map", help="What the files call a column: item_id=StockCode, or events.item_id=…"),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--value", help="The value of a column that the files lack: type=purchase."),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file for the rows that are left out, with reasons.",
            show_default="beside the first file, under the names of all",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read all files, compare them with stored data, and store nothing."),
    ] = False,
) -> None:
    """Import items, users and events into a shop, which is created if it does not exist.

    Files are CSV, JSON Lines or Parquet. An import that was stopped goes on when it is called again.
    """
    files = {Subject.ITEMS: items, Subject.USERS: users, Subject.EVENTS: events}
    sources = _sources(folder, {subject: path for subject, path in files.items() if path is not None})
    layout = Layout(parse_assignments(names or ()), parse_assignments(values or ()))
    rejects = rejects or _rejects_path(sources, dry_run=dry_run)
    check_currency(currency)
    now = int(time.time() * 1000)
    console = Console()
    settings = read_settings()
    if dry_run:
        database = await _open_if_there(console, settings.database_url)
        try:
            stored = None
            if database is not None:
                async with database.read() as connection:
                    stored = await find_shop(connection=connection, shop=shop)
            _check_currency(currency, stored, sources, layout)
            with _progress(console) as tell:
                report = await check_files(
                    database,
                    shop,
                    sources,
                    now=now,
                    currency=currency,
                    layout=layout,
                    rejects=rejects,
                    tell=tell,
                )
        finally:
            if database is not None:
                await database.close()
        console.print("nothing was stored; without --dry-run these would be:")
        _print_report(console, report, rejects)
        return
    await migrate(settings.database_url)
    async with opened_database() as database:
        async with database.write() as connection:
            stored = await find_shop(connection=connection, shop=shop)
            _check_currency(currency, stored, sources, layout)
            if stored is None:
                await create_shop(connection=connection, shop=shop, now=now, currency=currency)
            elif currency and not stored.currency:
                await change_shop(
                    connection=connection, shop=shop, change=lambda stored: replace(stored, currency=currency)
                )
        with _progress(console) as tell:
            report = await import_files(
                database,
                shop,
                sources,
                now=now,
                currency=currency,
                layout=layout,
                rejects=rejects,
                tell=tell,
            )
        _print_report(console, report, rejects)
        await print_readiness(console, database, shop)


@command
async def snapshot(
    place: Annotated[str, typer.Argument(help="A new folder, or s3://BUCKET/PREFIX with nothing there yet.")],
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Write a snapshot of a shop for trainers."""
    async with opened_database() as database:
        manifest = await export_snapshot(database, shop, place)
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items())
    Console().print(f"{place}: {counts}", soft_wrap=True)


def _rejects_path(sources: Sequence[Source], *, dry_run: bool) -> Path:
    """Name the rejected rows for the files, so that no other import writes over them, nor a dry run."""
    stems = "-".join(dict.fromkeys(source.path.stem for source in sources))
    return sources[0].path.with_name(f"{stems}.{'dry-run.' if dry_run else ''}rejects.csv")


async def _open_if_there(console: Console, url: str) -> Database | None:
    """Open the database; where that fails, print that stored data is ignored, and return None."""
    try:
        return await open_database(url)
    except (FailedPrecondition, Unavailable) as error:
        console.print(f"stored data is ignored: {error}", markup=False)
        return None


def _sources(folder: Path | None, files: Mapping[Subject, Path]) -> list[Source]:
    """Return the files of the folder, with those that are named in their place, by subject."""
    if folder is None and not files:
        raise InvalidInput("nothing to import: name a folder, or files with --items, --users, --events")
    found = {} if folder is None else {source.subject: source for source in find_sources(folder)}
    named = {subject: Source(subject, path) for subject, path in files.items()}
    chosen = found | named
    return [chosen[subject] for subject in Subject if subject in chosen]


def _check_currency(
    currency: str, shop: ShopRecord | None, sources: Sequence[Source], layout: Layout
) -> None:
    """Reject prices in no currency: a shop without a currency cannot compare them."""
    if not currency and (shop is None or not shop.currency):
        for source in sources:
            if has_amounts(source, layout):
                raise InvalidInput(
                    f"{source.path} has prices, but the shop has no currency: name it, such as --currency EUR"
                )


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[ImportStep], None]]:
    """Show a bar for each file, while the callable receives every step."""
    bars: dict[Source, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def tell(step: ImportStep) -> None:
            if step.source not in bars:
                bars[step.source] = progress.add_task(step.source.path.name, total=1.0, lines=0)
            progress.update(bars[step.source], completed=step.share, lines=step.lines)

        yield tell


def _print_report(console: Console, report: ImportReport, rejects: Path) -> None:
    if report.resumed:
        console.print("went on with an import that had been stopped")
    console.print(
        f"{report.items} items, {report.users} users, {report.events} events,"
        f" {report.duplicates} events known before"
    )
    for reason, count in report.rejected.items():
        console.print(f"rejected {count}: {reason}", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    if report.rejected:
        console.print(f"the rejected rows are in {rejects}", markup=False)

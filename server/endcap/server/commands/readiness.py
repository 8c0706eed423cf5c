"""The command ``endcap readiness``, whose report ``endcap import`` prints too."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from endcap.catalog.configuration.shops import DEFAULT_SHOP, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.reports.counting import count_shop
from endcap.catalog.reports.readiness import Counts, Level, judge, warn
from endcap.server.commands.terminal import ShopOption, command, opened_database


_STYLES = {Level.ENOUGH: "green", Level.THIN: "yellow", Level.TOO_LITTLE: "red"}


@command
async def readiness(shop: ShopOption = DEFAULT_SHOP) -> None:
    """Report which strategies a shop's data is enough for, and the remedies where it is not."""
    async with opened_database() as database:
        await print_readiness(Console(), database, shop)


async def print_readiness(console: Console, database: Database, shop: str) -> None:
    """Print the readiness of a shop's data.

    Raises:
        NotFound: The shop does not exist.
    """
    async with database.read() as connection:
        await get_shop(connection=connection, shop=shop)
        with console.status("counting"):
            counts = await count_shop(connection=connection, shop=shop)
    for line in _describe(counts):
        console.print(line, markup=False, highlight=False)
    table = Table("for", "the data is", "what to do")
    for verdict in judge(counts):
        table.add_row(
            ", ".join(verdict.family), f"[{_STYLES[verdict.level]}]{verdict.level}[/]", verdict.advice
        )
    console.print(table)
    for warning in warn(counts):
        console.print(f"note: {warning}", markup=False, highlight=False)


def _describe(counts: Counts) -> list[str]:
    types = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.events.items()))
    lines = [
        f"{counts.items:,} items, {counts.described_items:,} of them with more than a title",
        f"{counts.users:,} users, {counts.visitors:,} visitors that are no user",
        f"{counts.event_count:,} events" + (f": {types}" if types else ""),
    ]
    if counts.first_time is not None and counts.last_time is not None:
        first, last = (
            datetime.fromtimestamp(time / 1000, UTC).date() for time in (counts.first_time, counts.last_time)
        )
        chosen = f"{counts.choosers:,} users and visitors chose {counts.chosen_items:,} items"
        lines += [
            f"from {first} to {last}, which are {counts.days:.0f} days",
            f"{chosen}: {counts.chosen_pairs:,} pairs, {counts.density:.3%} of all",
        ]
    return lines

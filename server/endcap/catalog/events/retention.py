"""Retention: events and exposures are deleted once they are older than their shop keeps them.

Age counts back from the newest row of the shop, as it does in views. A clock that is wrong for a day
therefore deletes nothing, and a closed shop keeps its past.

Users, visitors and their links stay. Processes drop events of that age from memory within minutes, when they
sort their events.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, false, func, select

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.deletion import delete_rows
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import EVENTS, EXPOSURES


_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of rows deleted, by table."""

    events: int
    exposures: int


async def prune_shop(database: Database, shop: str, *, now: int, dry_run: bool = False) -> Pruned:
    """Delete the events and exposures that a shop no longer keeps.

    Args:
        database: The database.
        shop: The shop's id.
        now: Unix milliseconds; rows of a later time do not make others old.
        dry_run: Whether only to count.

    Raises:
        NotFound: The shop does not exist.
        Unavailable: Other writes kept the lock, or the database does not answer; earlier batches are gone.
        Exhausted: The disk is full; a deletion needs room in the database's log.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
    cuts = [
        (EVENTS, await _cut(database, EVENTS, shop, about.keep_events_days, now)),
        (EXPOSURES, await _cut(database, EXPOSURES, shop, about.keep_exposures_days, now)),
    ]
    if dry_run:
        return Pruned(*[await _count(database, table, cut) for table, cut in cuts])
    return Pruned(*[await delete_rows(database, table, cut) for table, cut in cuts])


async def _cut(database: Database, table: Table, shop: str, days: int, now: int) -> ColumnElement[bool]:
    """Return the condition that a row is older than the shop keeps rows of its table."""
    of_shop = table.c.shop == shop
    newest = select(func.max(table.c.time)).where(of_shop, table.c.time <= now)
    async with database.read() as connection:
        time_of_newest = (await connection.execute(newest)).scalar() if days else None
    return and_(of_shop, table.c.time < time_of_newest - days * _DAY) if time_of_newest else false()


async def _count(database: Database, table: Table, cut: ColumnElement[bool]) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table).where(cut))).scalar_one()

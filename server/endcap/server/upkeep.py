"""What a server does between calls: take in what others wrote, erase whom it forgot, let old events go.

Each goes on until it is cancelled; while the database does not answer, it says so in the log and tries again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from endcap.catalog.database import Database
from endcap.catalog.forgetting import erase_forgotten
from endcap.catalog.retention import prune_shop
from endcap.catalog.shops import list_shops
from endcap.sdk.errors import EndcapError
from endcap.server.shops import Shops


_REST = 9
"""Rest between two erasures, in durations of the first: they hold tables that others want."""

_log = structlog.get_logger(__name__)


async def keep_fresh(
    shops: Shops,
    database: Database,
    *,
    seconds: float,
    view_max_age: float,
    on_damage: Callable[[], Awaitable[None]],
) -> None:
    """Take in what other processes wrote.

    Args:
        shops: The shops that are served.
        database: Theirs.
        seconds: Rest between two times.
        view_max_age: Seconds after which a shop is loaded again for its counts.
        on_damage: Told each time that the database is found to be damaged.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            await shops.refresh(view_max_age=view_max_age)
        except EndcapError as error:
            _log.warning("refresh_failed", reason=str(error))
        if database.damaged:
            _log.error("database_damaged", remedy="restore it from a backup, and start again")
            await on_damage()


async def keep_erasing(database: Database, left: asyncio.Event, *, seconds: float) -> None:
    """Erase deleted people from the database's files, whenever some may be left there.

    Args:
        database: The database.
        left: Set by whoever leaves somebody there.
        seconds: The shortest rest between two times.
    """
    while True:
        await left.wait()
        left.clear()
        started = time.monotonic()
        try:
            is_done = await erase_forgotten(database)
        except EndcapError as error:
            _log.warning("erasing_failed", reason=str(error))
            is_done = False
        if not is_done:
            left.set()
        took = time.monotonic() - started
        await asyncio.sleep(max(seconds, _REST * took))


async def keep_pruned(database: Database, *, seconds: float) -> None:
    """Delete events and exposures that are older than their shop keeps them.

    Args:
        database: The database.
        seconds: Rest between two times.
    """
    while True:
        try:
            await _prune(database)
        except EndcapError as error:
            _log.warning("prune_failed", reason=str(error))
        await asyncio.sleep(seconds)


async def _prune(database: Database) -> None:
    async with database.read() as connection:
        shops = await list_shops(connection=connection)
    for shop in shops:
        pruned = await prune_shop(database, shop.id, now=int(time.time() * 1000))
        if pruned.events or pruned.exposures:
            _log.info("pruned", shop=shop.id, events=pruned.events, exposures=pruned.exposures)

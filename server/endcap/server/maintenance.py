"""Maintenance: the work that goes on beside the calls until the server stops.

Every loop is supervised. A turn that fails is logged and counted, and tried again after a pause that doubles.
Health turns NOT_SERVING when a loop cannot go on, and back after its next turn that succeeds; answers from
memory go on meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from endcap.catalog.configuration.shops import list_shops
from endcap.catalog.database.engine import Database
from endcap.catalog.events.retention import prune_shop
from endcap.catalog.people.forgetting import erase_forgotten
from endcap.sdk.errors import DataLoss, EndcapError
from endcap.server.serving.failures import log_failure
from endcap.server.serving.shops import Shops


FAILURES_IN_A_ROW = 3
"""Unexpected errors after which a loop is taken to be unable to go on."""

LONGEST_PAUSE = 60.0
"""Seconds that the pause after failures grows to."""

SHORTEST_REST = 0.5
"""Seconds between two times that events are taken into the counts, or items come and go by the clock."""

_REST = 9
"""Rest between two erasures, in durations of the first: they hold tables that others want."""

_log = structlog.get_logger(__name__)


class Maintenance:
    """The background loops of a server, supervised."""

    def __init__(
        self, *, on_failure: Callable[[str], None], on_health: Callable[[bool], Awaitable[None]]
    ) -> None:
        """Start nothing yet.

        Args:
            on_failure: Called with the name of the work each time that some fails.
            on_health: Called when the first loop cannot go on, with False, and with True when all can again.
        """
        self._on_failure = on_failure
        self._on_health = on_health
        self._tasks: list[asyncio.Task[None]] = []
        self._stuck: set[str] = set()

    def begin(self, name: str, turn: Callable[[], Awaitable[float]], *, pause: float) -> None:
        """Do one turn after another.

        Args:
            name: Names the loop in the log and in the metric.
            turn: Does some work, and returns the seconds to rest after it.
            pause: Seconds of rest after a turn that failed; twice as many after each further one.
        """
        self._tasks.append(asyncio.create_task(self._run(name, turn, pause)))

    async def close(self) -> None:
        """Stop every loop."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self, name: str, turn: Callable[[], Awaitable[float]], pause: float) -> None:
        failures = 0
        while True:
            try:
                rest = await turn()
            except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on
                failures += 1
                rest = min(pause * 2 ** (failures - 1), LONGEST_PAUSE)
                self._on_failure(name)
                log_failure(_log, "maintenance_failed", error, work=name)
                # The database may be away for a while: what is in memory serves on, so that is no reason.
                is_expected = isinstance(error, EndcapError) and not isinstance(error, DataLoss)
                stuck = isinstance(error, DataLoss) or (not is_expected and failures >= FAILURES_IN_A_ROW)
            else:
                failures, stuck = 0, False
            await self._judge(name, stuck=stuck)
            await asyncio.sleep(rest)

    async def _judge(self, name: str, *, stuck: bool) -> None:
        was_well = not self._stuck
        (self._stuck.add if stuck else self._stuck.discard)(name)
        if was_well == bool(self._stuck):
            await self._on_health(not self._stuck)


async def refresh(shops: Shops, database: Database, *, seconds: float, view_max_age: float) -> float:
    """Take in what other processes wrote, once.

    Args:
        shops: The shops that are served.
        database: The database of the shops.
        seconds: The longest rest until the next time.
        view_max_age: Seconds after which data without a revision is read again.

    Returns:
        The rest, which ends when an item comes or goes by the clock, if that is ``SHORTEST_REST`` away.

    Raises:
        DataLoss: The database was found to be damaged.
        Exception: Every shop failed; this is the error of one.
    """
    error = await shops.refresh(view_max_age=view_max_age)
    if database.damaged:
        raise DataLoss("the database is damaged: restore it from a backup, and start again")
    if error is not None:
        raise error
    return min(seconds, max(SHORTEST_REST, shops.seconds_to_change()))


async def count(shops: Shops) -> float:
    """Take the events that came in into the counts, once.

    Returns:
        The seconds to rest, at least as long as it took.
    """
    started = time.monotonic()
    await shops.count()
    return max(SHORTEST_REST, time.monotonic() - started)


async def erase(database: Database, left: asyncio.Event, *, seconds: float) -> float:
    """Erase deleted people from the database's files, once some may be left there.

    Args:
        database: The database.
        left: Set when deleted people may be left in the files.
        seconds: The shortest rest until the next time.

    Returns:
        The rest, which is longer after an erasure that took long.
    """
    await left.wait()
    left.clear()
    started = time.monotonic()
    is_done = False
    try:
        is_done = await erase_forgotten(database)
    finally:
        if not is_done:
            left.set()
    return max(seconds, _REST * (time.monotonic() - started))


async def prune(database: Database, *, seconds: float, on_failure: Callable[[str], None]) -> float:
    """Delete events and exposures that are older than their shop keeps them, shop by shop.

    Args:
        database: The database.
        seconds: Rest until the next time, which is returned.
        on_failure: Called with the name of the work for each shop that fails.
    """
    async with database.read() as connection:
        shops = await list_shops(connection=connection)
    for shop in shops:
        try:
            pruned = await prune_shop(database, shop.id, now=int(time.time() * 1000))
        except Exception as error:  # noqa: BLE001 - the other shops are pruned all the same
            on_failure("prune_shop")
            log_failure(_log, "maintenance_failed", error, work="prune_shop", shop=shop.id)
        else:
            if pruned.events or pruned.exposures:
                _log.info("pruned", shop=shop.id, events=pruned.events, exposures=pruned.exposures)
    return seconds

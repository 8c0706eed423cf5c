"""The event writer: events are acknowledged once they are on disk, many callers a commit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.events import Event, Outcome, Stored, store_events
from endcap.catalog.group_commit import GroupCommit
from endcap.sdk.errors import EndcapError, NotFound


_log = structlog.get_logger(__name__)

GROUP_SIZE = 1_000
"""Events a commit, unless one call alone brings more."""

QUEUE_SIZE = 20_000
"""Events that may wait for a commit."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the events of one call. They are on disk."""

    outcomes: tuple[Outcome, ...]
    """One an event, in their order."""

    revision: int
    """A revision of the shop that holds all that were accepted, now or before."""


@dataclass(frozen=True, slots=True)
class _Call:
    shop: str
    events: Sequence[Event]


class EventWriter:
    """Records events durably. Create it in the event loop, and close it."""

    def __init__(self, database: Database, on_commit: Callable[[str, Sequence[Event], int], None]) -> None:
        """Start writing.

        Args:
            database: Where.
            on_commit: Called in the loop after each commit and before it is acknowledged, with a shop, its
                new events in their order and its revision; so that what is held in memory has them.
        """
        self._database = database
        self._on_commit = on_commit
        self._commits = GroupCommit(self._commit, group_size=GROUP_SIZE, queue_size=QUEUE_SIZE)

    async def record(self, shop: str, events: Sequence[Event]) -> Recorded:
        """Record the events of one call, all of them or none.

        An event whose id is taken rejects itself alone.

        Raises:
            NotFound: There is no such shop.
            Exhausted: The queue or the disk is full.
            Unavailable: The database is locked, or the server is stopping.
        """
        return await self._commits.submit(_Call(shop, events), size=len(events))

    async def close(self) -> None:
        """Record what waits, then stop."""
        await self._commits.close()

    async def _commit(self, calls: Sequence[_Call]) -> list[Recorded | EndcapError]:
        events: dict[str, list[Event]] = {}
        for call in calls:
            events.setdefault(call.shop, []).extend(call.events)
        async with self._database.write() as connection:
            stored = {
                shop: await _store(connection, shop, of_shop) for shop, of_shop in sorted(events.items())
            }
        outcomes: dict[str, Iterator[Outcome]] = {}
        for shop, result in stored.items():
            if isinstance(result, Stored):
                outcomes[shop] = iter(result.outcomes)
                self._announce(shop, result)
        return [
            result
            if isinstance(result := stored[call.shop], NotFound)
            else Recorded(tuple(islice(outcomes[call.shop], len(call.events))), result.revision)
            for call in calls
        ]

    def _announce(self, shop: str, stored: Stored) -> None:
        if stored.accepted:
            try:
                self._on_commit(shop, stored.accepted, stored.revision)
            except Exception:  # noqa: BLE001 - the events are on disk: they are acknowledged all the same
                _log.exception("listener failed", shop=shop, revision=stored.revision)


async def _store(connection: AsyncConnection, shop: str, events: Sequence[Event]) -> Stored | NotFound:
    try:
        return await store_events(connection=connection, shop=shop, events=events)
    except NotFound as error:
        return error

"""The event writer: events are acknowledged once they are on disk; a commit serves many callers.

Buffered events are acknowledged before they are on disk, and share the commits of other events. Their callers
do not learn of later errors, so the writer retries for as long as it runs. It accepts no further buffered
events meanwhile, which bounds their number.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Self

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.engine import Database
from endcap.catalog.database.group_commit import GroupCommit
from endcap.catalog.events.events import Event, KnownPeople, Outcome, Row, Stored, event_row, store_events
from endcap.sdk.errors import EndcapError, Exhausted, NotFound, Unavailable


_log = structlog.get_logger(__name__)

GROUP_SIZE = 4_000
"""The largest number of events in a commit, unless a single call has more."""

QUEUE_SIZE = 20_000
"""Events that may wait for a commit."""

RETRY_SECONDS = 0.5
"""Seconds between two attempts to write buffered events that the database rejected."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcomes of the events of one call, which are on disk."""

    outcomes: tuple[Outcome, ...]
    """One outcome for each event, in the order of the events."""

    revision: int
    """A revision of the shop that holds all accepted events, including earlier duplicates."""


@dataclass(frozen=True, slots=True)
class _Call:
    shop: str
    events: Sequence[Event]
    rows: Sequence[Row]

    @classmethod
    def of(cls, shop: str, events: Sequence[Event]) -> Self:
        return cls(shop, events, [event_row(shop, event) for event in events])


class EventWriter:
    """Records events durably. Create it in the event loop, and close it."""

    def __init__(
        self,
        database: Database,
        on_commit: Callable[[str, Sequence[Event], int], None],
        *,
        known: Callable[[str], KnownPeople | None] = lambda _shop: None,
        on_lost: Callable[[int], None] | None = None,
    ) -> None:
        """Start writing.

        Args:
            database: The database.
            on_commit: Called in the event loop after each commit and before the acknowledgement, with a shop,
                its new events in their order and its revision; it updates the state in memory.
            known: Returns the users and visitors of a shop that are held in memory.
            on_lost: Called with the number of buffered events that will never be stored.
        """
        self._database = database
        self._on_commit = on_commit
        self._known = known
        self._on_lost = on_lost
        self._closing = False
        self._stalled = False  # the database rejected the last buffered events
        self._refused: list[_Call] = []  # buffered calls to retry
        self._commits = GroupCommit(self._commit, group_size=GROUP_SIZE, queue_size=QUEUE_SIZE)

    def check_room(self, count: int) -> None:
        """Reject a call of ``count`` events early if the queue has no room for it.

        Raises:
            Exhausted: The queue is full.
            Unavailable: The server is stopping.
        """
        self._commits.check_room(count)

    async def record(self, shop: str, events: Sequence[Event]) -> Recorded:
        """Record the events of one call, all of them or none.

        An event whose id belongs to another event is rejected alone.

        Raises:
            NotFound: The shop does not exist.
            Exhausted: The queue or the disk is full.
            Unavailable: The database is locked, or the server is stopping.
        """
        return await self._commits.submit(_Call.of(shop, events), size=len(events))

    def buffer(self, shop: str, events: Sequence[Event]) -> None:
        """Queue the events of one call, all of them or none, to be recorded within a second.

        Recording takes longer while the database rejects writes. Buffered events are lost in a crash, if
        their id belongs to another event, or if the database still rejects them when the server stops.

        Raises:
            Exhausted: The queue is full.
            Unavailable: Earlier buffered events cannot be written, or the server is stopping.
        """
        if self._stalled:
            raise Unavailable("buffered events wait for the database to take writes again: try again later")
        self._enter(_Call.of(shop, events))

    async def close(self) -> None:
        """Record the waiting events, then stop."""
        self._closing = True
        self._retry()
        await self._commits.close()

    def _enter(self, call: _Call) -> None:
        self._commits.enter(call, size=len(call.events)).add_done_callback(partial(self._settle, call))

    def _settle(self, call: _Call, result: "asyncio.Future[Recorded]") -> None:
        """Retry buffered events that could not be stored, or count them as lost."""
        error = result.exception()
        if error is None:
            self._stalled = False
            self._lose(
                call.shop, result.result().outcomes.count(Outcome.CONFLICT), "the id is another event's"
            )
        else:
            self._refuse(call, error)

    def _refuse(self, call: _Call, error: BaseException) -> None:
        if isinstance(error, (Unavailable, Exhausted)) and not self._closing:
            self._stalled = True
            if not self._refused:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)
            self._refused.append(call)
        else:
            self._lose(call.shop, len(call.events), str(error))

    def _retry(self) -> None:
        calls, self._refused = self._refused, []
        for call in calls:
            try:
                self._enter(call)
            except EndcapError as error:
                self._refuse(call, error)

    def _lose(self, shop: str, count: int, cause: str) -> None:
        if count:
            _log.error("buffered events lost", shop=shop, events=count, cause=cause)
            if self._on_lost is not None:
                self._on_lost(count)

    async def _commit(self, calls: Sequence[_Call]) -> list[Recorded | EndcapError]:
        by_shop: dict[str, list[_Call]] = {}
        for call in calls:
            by_shop.setdefault(call.shop, []).append(call)
        async with self._database.write() as connection:
            stored = {shop: await self._store(connection, shop, by_shop[shop]) for shop in sorted(by_shop)}
        outcomes: dict[str, Iterator[Outcome]] = {}
        for shop, result in stored.items():
            if isinstance(result, Stored):
                outcomes[shop] = iter(result.outcomes)
                if not result.accepted:
                    continue
                try:
                    self._on_commit(shop, result.accepted, result.revision)
                except Exception:  # noqa: BLE001 - the events are on disk, so they are acknowledged
                    _log.exception("listener failed", shop=shop, revision=result.revision)
        return [
            result
            if isinstance(result := stored[call.shop], NotFound)
            else Recorded(tuple(islice(outcomes[call.shop], len(call.events))), result.revision)
            for call in calls
        ]

    async def _store(
        self, connection: AsyncConnection, shop: str, calls: Sequence[_Call]
    ) -> Stored | NotFound:
        events = list(chain.from_iterable(call.events for call in calls))
        rows = list(chain.from_iterable(call.rows for call in calls))
        try:
            return await store_events(
                connection=connection, shop=shop, events=events, rows=rows, known=self._known(shop)
            )
        except NotFound as error:
            return error

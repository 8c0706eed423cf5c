"""The event writer: events are acknowledged once they are on disk; a commit serves many callers.

Buffered events are acknowledged before they are on disk, and share the commits of other events. Their callers
do not learn of later errors, so the writer retries for as long as it runs. It accepts no further buffered
events meanwhile, which bounds their number.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from endcap.catalog.database.engine import Database
from endcap.catalog.database.group_commit import GroupCommit
from endcap.catalog.events.commit import EventsOfCall, Recorded, commit_events
from endcap.catalog.events.events import Event, Outcome, event_row
from endcap.catalog.events.storing import KnownPeople
from endcap.sdk.errors import EndcapError, Exhausted, Unavailable


_log = structlog.get_logger(__name__)

GROUP_SIZE = 4_000
"""The largest number of events in a commit, unless a single call has more."""

QUEUE_SIZE = 20_000
"""Events that may wait for a commit."""

RETRY_SECONDS = 0.5
"""Seconds between two attempts to write buffered events that the database rejected."""


class EventWriter:
    """Records events durably. Create it in the event loop, and close it."""

    def __init__(
        self,
        database: Database,
        on_commit: Callable[[str, Sequence[Event], int], None],
        *,
        on_lost: Callable[[int], None] | None = None,
    ) -> None:
        """Start writing.

        Args:
            database: Where.
            on_commit: Called in the loop after each commit and before it is acknowledged, with a shop, its
                new events in their order, the events that these took back, and its revision; so that what is
                held in memory has them.
            on_lost: Called with a number of buffered events that will never be stored, when there are any.
        """
        self._on_lost = on_lost
        self._closing = False
        self._stalled = False  # the database refused the last buffered events
        self._refused: list[EventsOfCall] = []  # buffered, to be tried again
        self._commits = GroupCommit(
            partial(commit_events, database, on_commit), group_size=GROUP_SIZE, queue_size=QUEUE_SIZE
        )

    def check_room(self, count: int) -> None:
        """Reject a call of ``count`` events early if the queue has no room for it.

        Raises:
            Exhausted: The queue is full.
            Unavailable: The server is stopping.
        """
        self._commits.check_room(count)

    async def record(self, shop: str, events: Sequence[Event], known: KnownPeople | None = None) -> Recorded:
        """Record the events of one call, all of them or none.

        An event whose id belongs to another event is rejected alone.

        Args:
            shop: The shop's id.
            events: In the order that they are to have.
            known: People who need not be stored, unless somebody else has written to the shop since.

        Raises:
            NotFound: The shop does not exist.
            Exhausted: The queue or the disk is full.
            Unavailable: The database is locked, or the server is stopping.
        """
        rows = [event_row(shop, event) for event in events]
        return await self._commits.submit(EventsOfCall(shop, events, rows, known), size=len(events))

    def buffer(self, shop: str, events: Sequence[Event], known: KnownPeople | None = None) -> None:
        """Take in the events of one call, all of them or none, to be recorded within a second.

        Recording takes longer while the database rejects writes. Buffered events are lost in a crash, if
        their id belongs to another event, or if the database still rejects them when the server stops.

        Args:
            shop: As for ``record``.
            events: As for ``record``.
            known: As for ``record``.

        Raises:
            Exhausted: The queue is full.
            Unavailable: Earlier buffered events cannot be written, or the server is stopping.
        """
        if self._stalled:
            raise Unavailable("buffered events wait for the database to take writes again: try again later")
        rows = [event_row(shop, event) for event in events]
        self._enter(EventsOfCall(shop, events, rows, known))

    async def close(self) -> None:
        """Record the waiting events, then stop."""
        self._closing = True
        self._retry()
        await self._commits.close()

    def _enter(self, call: EventsOfCall) -> None:
        self._commits.enter(call, size=len(call.events)).add_done_callback(partial(self._settle, call))

    def _settle(self, call: EventsOfCall, result: "asyncio.Future[Recorded]") -> None:
        """See to it that buffered events are stored, or count those that never will be."""
        error = result.exception()
        if error is None:
            self._stalled = False
            outcomes = result.result().outcomes
            self._lose(call.shop, outcomes.count(Outcome.CONFLICT), "the id is another event's")
            self._lose(
                call.shop, outcomes.count(Outcome.NOTHING_REVERSED), "the event to take back is missing"
            )
        else:
            self._refuse(call, error)

    def _refuse(self, call: EventsOfCall, error: BaseException) -> None:
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

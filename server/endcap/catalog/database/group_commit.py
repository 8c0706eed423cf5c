"""Group commit: entries of concurrent callers are committed together.

Waiting callers need no timer: while one group is being committed the next group fills, so a lone
caller waits for one commit and a thousand callers share one. (Gawlick and Kinkade, "Varieties of Concurrency
Control in IMS/VS Fast Path", 1985.)
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from endcap.sdk.errors import EndcapError, Exhausted, InvalidInput, Unavailable


Entry = TypeVar("Entry")
Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingEntry(Generic[Entry, Result]):
    entry: Entry
    size: int
    result: asyncio.Future[Result] | None


class GroupCommit(Generic[Entry, Result]):
    """Runs one commit after the other, each with the entries that arrived during the previous one."""

    def __init__(
        self,
        commit: Callable[[Sequence[Entry]], Awaitable[Sequence[Result | EndcapError]]],
        *,
        group_size: int,
        queue_size: int,
        pause: float = 0.0,
        retries: Sequence[float] = (),
        on_dropped: Callable[[int, str], None] = lambda _count, _cause: None,
    ) -> None:
        """Start the task that commits.

        Args:
            commit: Makes a group durable and returns a result for each entry, or an error of the entry alone.
                If it raises, no entry of the group was committed.
            group_size: The largest sum of the sizes of a group's entries; a single entry may exceed it.
            queue_size: The largest sum of the sizes of waiting entries.
            pause: Seconds from one commit to the next, unless a whole group waits. For entries of ``offer``,
                whose callers do not wait.
            retries: Seconds before each further attempt at a group when the database was busy, full or
                away. For entries of ``offer``; on closing, one more attempt is made.
            on_dropped: Called with the number of entries of ``offer`` that are lost, and the cause.
        """
        self._on_dropped = on_dropped
        self._commit = commit
        self._group_size = group_size
        self._queue_size = queue_size
        self._pause = pause
        self._retries = retries
        self._queue: deque[_WaitingEntry[Entry, Result]] = deque()
        self._queued = 0
        self._closing = asyncio.Event()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="group commit")

    def check_room(self, size: int) -> None:
        """Reject an entry of a size early if the queue has no room for it.

        Raises:
            Exhausted: Too many entries wait.
            Unavailable: The server is stopping.
        """
        if self._closing.is_set():
            raise Unavailable("the server is stopping: try again")
        if self._queue and self._queued + size > self._queue_size:
            raise Exhausted("too many writes are waiting: send fewer at a time, and try again")

    def enter(self, entry: Entry, *, size: int = 1) -> asyncio.Future[Result]:
        """Queue an entry, and return the future of its result.

        If the future raises, the commit failed and nothing of the entry is stored. Cancelling the future does
        not withdraw the entry.

        Raises:
            Exhausted: Too many entries wait.
            Unavailable: The server is stopping.
        """
        self.check_room(size)
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._put(_WaitingEntry(entry, size, result))
        return result

    async def submit(self, entry: Entry, *, size: int = 1) -> Result:
        """Commit an entry and return its result.

        Cancelling the caller does not withdraw the entry.

        Raises:
            Exhausted: Too many entries wait.
            Unavailable: The server is stopping.
            EndcapError: The commit failed, and nothing of the entry is stored.
        """
        return await self.enter(entry, size=size)

    def offer(self, entry: Entry, *, size: int = 1) -> None:
        """Queue an entry without waiting for it; the oldest entries are dropped when too many wait."""
        while self._queue and self._queued + size > self._queue_size:
            oldest = self._queue.popleft()
            self._queued -= oldest.size
            self._fail([oldest], Exhausted("too many writes are waiting: try again"))
        self._put(_WaitingEntry(entry, size, None))

    async def close(self) -> None:
        """Commit the waiting entries, then stop."""
        self._closing.set()
        self._wake.set()
        await self._task

    def _put(self, waiting: _WaitingEntry[Entry, Result]) -> None:
        self._queue.append(waiting)
        self._queued += waiting.size
        self._wake.set()

    async def _run(self) -> None:
        while self._queue or not self._closing.is_set():
            if self._queue:
                await self._commit_group(self._next_group())
                if self._queued < self._group_size:
                    await self._rest(self._pause)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _rest(self, seconds: float) -> None:
        if seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), seconds)

    def _next_group(self) -> list[_WaitingEntry[Entry, Result]]:
        group = [self._queue.popleft()]
        size = group[0].size
        while self._queue and size + self._queue[0].size <= self._group_size:
            group.append(self._queue.popleft())
            size += group[-1].size
        self._queued -= size
        return group

    async def _commit_group(self, group: list[_WaitingEntry[Entry, Result]]) -> None:
        try:
            results = await self._attempt([waiting.entry for waiting in group])
        except Exception as error:  # noqa: BLE001 - a bug of the commit must not end the task
            of_the_database = isinstance(error, EndcapError) and not isinstance(error, InvalidInput)
            if len(group) > 1 and not of_the_database:
                # An entry that the database cannot store must not fail the other entries of its group.
                for waiting in group:
                    await self._commit_group([waiting])
                return
            if isinstance(error, EndcapError):
                _log.warning("commit refused", reason=error.reason, entries=len(group))
            else:
                _log.exception("commit failed")
            self._fail(group, error)
        else:
            for waiting, result in zip(group, results, strict=True):
                if isinstance(result, EndcapError):
                    self._fail([waiting], result)
                elif waiting.result is not None and not waiting.result.done():
                    waiting.result.set_result(result)

    async def _attempt(self, entries: Sequence[Entry]) -> Sequence[Result | EndcapError]:
        """Commit a group, and retry while the database rejects it and attempts are left."""
        for seconds in self._retries:
            try:
                return await self._commit(entries)
            except (Unavailable, Exhausted) as error:
                if self._closing.is_set():
                    raise
                _log.warning("commit postponed", reason=error.reason, entries=len(entries), seconds=seconds)
                await self._rest(seconds)
        return await self._commit(entries)

    def _fail(self, group: Sequence[_WaitingEntry[Entry, Result]], error: Exception) -> None:
        if offered := sum(waiting.result is None for waiting in group):
            self._on_dropped(offered, str(error))
        for waiting in group:
            if waiting.result is not None and not waiting.result.done():
                waiting.result.set_exception(error)

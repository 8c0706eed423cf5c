"""Runs one strategy for many concurrent queries: batches form by themselves, without timers.

While one batch runs in the strategy's own thread, the next one fills. A lone query starts at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from endcap.sdk import CatalogView, Query, Ranking, Strategy
from endcap.server.request import Failure, RungFailed


_FAILURES_TO_REST = 5
_REST_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    query: Query
    view: CatalogView
    answer: asyncio.Future[Ranking]


class Batcher:
    """One strategy instance, its thread, and the queries that wait for it.

    The thread ends when nobody holds the batcher any more.

    A broken or stuck strategy slows nobody down: after five failed batches in a row it is left alone
    for five seconds, and no query waits behind a batch that is late already; both fail at once.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        *,
        max_batch_size: int,
        max_waiting: int = 1024,
        observe_batch: Callable[[str, int], None] = lambda _name, _size: None,
    ) -> None:
        self.strategy = strategy
        self._name = name
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._observe_batch = observe_batch
        self._waiting: deque[_Waiting] = deque()
        self._running = False
        self._late = False
        self._failures = 0
        self._rests_until = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"strategy-{name}")

    async def ask(self, query: Query, view: CatalogView, timeout: float) -> Ranking:  # noqa: ASYNC109
        """Answer one query, together with those that wait beside it.

        Args:
            query: The question.
            view: The view that its rows belong to.
            timeout: Seconds to wait for the answer.

        Raises:
            RungFailed: The strategy raised, answered nonsense, took too long, rests after failures, or
                has too many queries waiting.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until:
            raise RungFailed(
                Failure.SUSPENDED, f"{self._name} failed {_FAILURES_TO_REST} times in a row and rests"
            )
        if self._late:
            raise RungFailed(Failure.TIMED_OUT, f"{self._name} is busy with a batch that is late")
        if len(self._waiting) >= self._max_waiting:
            raise RungFailed(Failure.OVERLOADED, f"too many queries wait for {self._name}")
        waiting = _Waiting(query, view, loop.create_future())
        self._waiting.append(waiting)
        if not self._running:
            self._run_next(loop)
        try:
            async with asyncio.timeout(timeout):
                return await waiting.answer
        except TimeoutError as error:
            self._late = self._running
            raise RungFailed(
                Failure.TIMED_OUT, f"{self._name} did not answer in {timeout:.3f} seconds"
            ) from error

    def _run_next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._take_batch()
        self._running = bool(batch)
        if batch:
            self._observe_batch(self._name, len(batch))
            run = loop.run_in_executor(self._thread, self._run, batch)
            run.add_done_callback(lambda done: self._finish(loop, batch, done.result()))

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._max_batch_size:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
            elif batch and self._waiting[0].view is not batch[0].view:
                break
            else:
                batch.append(self._waiting.popleft())
        return batch

    def _run(self, batch: Sequence[_Waiting]) -> Sequence[Ranking] | RungFailed:
        """Run in the strategy's thread. Nothing that a plugin raises gets past here, SystemExit included."""
        try:
            rankings = self.strategy.recommend([waiting.query for waiting in batch], batch[0].view)
            if len(rankings) != len(batch) or not all(isinstance(item, Ranking) for item in rankings):
                return RungFailed(
                    Failure.INVALID_RANKING, f"{self._name} must answer each query with one ranking"
                )
        except BaseException:  # noqa: BLE001
            _log.exception("strategy_failed", strategy=self._name, queries=len(batch))
            return RungFailed(Failure.STRATEGY_FAILED, f"{self._name} raised an error")
        return rankings

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting],
        outcome: Sequence[Ranking] | RungFailed,
    ) -> None:
        self._count(loop, failed=self._late or isinstance(outcome, RungFailed))
        for index, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            if isinstance(outcome, RungFailed):
                waiting.answer.set_exception(RungFailed(outcome.failure, str(outcome)))
            else:
                waiting.answer.set_result(outcome[index])
        self._run_next(loop)

    def _count(self, loop: asyncio.AbstractEventLoop, *, failed: bool) -> None:
        self._late = False
        self._failures = self._failures + 1 if failed else 0
        if self._failures == _FAILURES_TO_REST:
            self._failures = 0
            self._rests_until = loop.time() + _REST_SECONDS

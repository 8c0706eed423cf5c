"""Runs one strategy for many concurrent queries: batches form by themselves, without timers.

While one batch runs in the strategy's own thread, the next one fills. A lone query starts at once.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from traceback import format_exc

import structlog

from endcap.sdk import CatalogView, Query, Ranking, Strategy
from endcap.server.serving.breaker import BreakerState, CircuitBreaker
from endcap.server.serving.checks import CheckedRanking, checked
from endcap.server.serving.failures import Failure, RungFailed


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingQuery:
    query: Query
    view: CatalogView
    limit: float
    answer: asyncio.Future[CheckedRanking]


@dataclass(slots=True, eq=False)
class _Batch:
    """Queries that are run together."""

    waiting: Sequence[_WaitingQuery]

    ended: bool = False
    """Set in the strategy's thread: the event loop may hear of it later."""

    late: bool = False

    @property
    def limit(self) -> float:
        """Seconds that the batch may run: the longest limit among its rungs."""
        return max(each.limit for each in self.waiting)


class Batcher:
    """One strategy instance, its thread, and the queries that wait for it.

    The thread ends when nobody holds the batcher any more.

    A broken or stuck strategy delays no other caller. A batch fails when the strategy raises or answers
    nonsense, and when it runs longer than the limit of its rung; how long a query waited, and how long its
    caller would wait, do not count. While a batch is late, queries fail at once, and while failures in a row
    hold the circuit breaker open.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        *,
        max_batch_size: int,
        max_waiting: int = 1024,
        observe_batch: Callable[[str, int], None] = lambda _name, _size: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.strategy = strategy
        self.breaker = CircuitBreaker(clock)
        self._name = name
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._observe_batch = observe_batch
        self._waiting: deque[_WaitingQuery] = deque()
        self._batch: _Batch | None = None  # the batch that runs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"strategy-{name}")

    async def ask(
        self, query: Query, view: CatalogView, limit: float, time_left: float = math.inf
    ) -> CheckedRanking:
        """Answer one query, together with those that wait beside it.

        Args:
            query: The question.
            view: The view that its rows belong to.
            limit: Seconds that the rung gives the strategy.
            time_left: Seconds until the caller's own deadline.

        Raises:
            RungFailed: The strategy raised, answered nonsense or took too long, its circuit breaker is
                open, or too many queries wait for it.
        """
        if self._batch is not None and self._batch.late:
            raise self._late()
        if not self.breaker.admits():
            raise self._suspended()
        if len(self._waiting) >= self._max_waiting:
            raise RungFailed(Failure.OVERLOADED, f"too many queries wait for {self._name}")
        loop = asyncio.get_running_loop()
        waiting = _WaitingQuery(query, view, limit, loop.create_future())
        self._waiting.append(waiting)
        if self._batch is None:
            self._run_next(loop)
        seconds = min(limit, time_left)
        try:
            async with asyncio.timeout(seconds):
                return await waiting.answer
        except TimeoutError as error:
            if waiting in self._waiting:
                raise RungFailed(
                    Failure.OVERLOADED, f"{self._name} answered other queries for {seconds:.3f} seconds"
                ) from error
            raise RungFailed(
                Failure.TIMED_OUT, f"{self._name} did not answer in {seconds:.3f} seconds"
            ) from error

    def _run_next(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._take_batch()
        self._batch = None
        if waiting:
            batch = self._batch = _Batch(waiting)
            self._observe_batch(self._name, len(waiting))
            run = loop.run_in_executor(self._thread, self._run, batch)
            limit = loop.call_later(batch.limit, self._pass_limit, loop, batch)
            run.add_done_callback(lambda done: self._finish(loop, limit, batch, done.result()))

    def _take_batch(self) -> list[_WaitingQuery]:
        batch: list[_WaitingQuery] = []
        while self._waiting and len(batch) < self._max_batch_size:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
            elif batch and self._waiting[0].view is not batch[0].view:
                break
            else:
                batch.append(self._waiting.popleft())
        return batch

    def _run(self, batch: _Batch) -> Sequence[CheckedRanking] | RungFailed:
        """Run in the strategy's thread. Nothing that a plugin raises gets past here, SystemExit included."""
        try:
            queries = [waiting.query for waiting in batch.waiting]
            rankings = self.strategy.recommend(queries, batch.waiting[0].view)
            if len(rankings) != len(queries) or not all(isinstance(item, Ranking) for item in rankings):
                return RungFailed(
                    Failure.INVALID_RANKING, f"{self._name} must answer each query with one ranking"
                )
            return [checked(ranking, query) for ranking, query in zip(rankings, queries, strict=True)]
        except BaseException:  # noqa: BLE001
            # Written out here, for a logger that shows more of an error than its text would run the plugin.
            _log.error(
                "strategy_failed", strategy=self._name, queries=len(batch.waiting), exception=format_exc()
            )
            return RungFailed(Failure.STRATEGY_FAILED, f"{self._name} raised an error")
        finally:
            batch.ended = True

    def _pass_limit(self, loop: asyncio.AbstractEventLoop, batch: _Batch) -> None:
        """Count a batch that runs past its limit, and again each time that as long has passed.

        So a strategy that never returns opens the breaker too.
        """
        if batch is not self._batch or batch.ended:
            return
        batch.late = True
        self.breaker.failed()
        self._fail_waiting(self._late)
        loop.call_later(batch.limit, self._pass_limit, loop, batch)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: asyncio.TimerHandle,
        batch: _Batch,
        outcome: Sequence[CheckedRanking] | RungFailed,
    ) -> None:
        limit.cancel()
        for index, waiting in enumerate(batch.waiting):
            if waiting.answer.done():
                continue
            if isinstance(outcome, RungFailed):
                waiting.answer.set_exception(RungFailed(outcome.failure, str(outcome)))
            else:
                waiting.answer.set_result(outcome[index])
        if isinstance(outcome, RungFailed) and not batch.late:
            self.breaker.failed()
        elif not batch.late:
            self.breaker.succeeded()
        if self.breaker.state is not BreakerState.CLOSED:
            self._fail_waiting(self._suspended)
        self._run_next(loop)

    def _fail_waiting(self, failure: Callable[[], RungFailed]) -> None:
        for waiting in self._waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(failure())
        self._waiting.clear()

    def _late(self) -> RungFailed:
        return RungFailed(Failure.TIMED_OUT, f"{self._name} is busy with a batch that is late")

    def _suspended(self) -> RungFailed:
        return RungFailed(
            Failure.SUSPENDED, f"the circuit breaker of {self._name} is open: it failed again and again"
        )

"""Runs one strategy for many concurrent queries: batches form by themselves, without timers.

While one batch runs in the strategy's own thread, the next one fills. A lone query starts at once.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from traceback import format_exc

import numpy as np
import structlog
from numpy.typing import NDArray

from endcap.sdk import NO_RANKING, CatalogView, Query, Ranking, Reason, Rows, Strategy
from endcap.server.answer import Dropped
from endcap.server.failures import Failure, RungFailed


_FAILURES_TO_REST = 5
_REST_SECONDS = 5.0
_KIND = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")  # of a reason, as the contract has it
_LONGEST_REASON = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedRanking:
    """What a strategy answered, less what it must not have."""

    ranking: Ranking

    ranked: int
    """Items that the strategy named."""

    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    query: Query
    view: CatalogView
    answer: asyncio.Future[CheckedRanking]


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

    async def ask(
        self,
        query: Query,
        view: CatalogView,
        timeout: float,  # noqa: ASYNC109
    ) -> CheckedRanking:
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

    def _run(self, batch: Sequence[_Waiting]) -> Sequence[CheckedRanking] | RungFailed:
        """Run in the strategy's thread. Nothing that a plugin raises gets past here, SystemExit included."""
        try:
            queries = [waiting.query for waiting in batch]
            rankings = self.strategy.recommend(queries, batch[0].view)
            if len(rankings) != len(batch) or not all(isinstance(item, Ranking) for item in rankings):
                return RungFailed(
                    Failure.INVALID_RANKING, f"{self._name} must answer each query with one ranking"
                )
            return [checked(ranking, query) for ranking, query in zip(rankings, queries, strict=True)]
        except BaseException:  # noqa: BLE001
            # Written out here, for a logger that shows more of an error than its text would run the plugin.
            _log.error("strategy_failed", strategy=self._name, queries=len(batch), exception=format_exc())
            return RungFailed(Failure.STRATEGY_FAILED, f"{self._name} raised an error")

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting],
        outcome: Sequence[CheckedRanking] | RungFailed,
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


def checked(ranking: Ranking, query: Query) -> CheckedRanking:
    """Drop what a strategy must not have returned, whatever the plugin did.

    Returns:
        The ranking without foreign, ineligible and repeated rows and without scores that are no
        numbers, cut to the limit; and the items that were dropped.
    """
    rows, scores = np.asarray(ranking.rows), np.asarray(ranking.scores)
    if (
        rows.ndim != 1
        or rows.shape != scores.shape
        or rows.dtype.kind not in "iu"
        or scores.dtype.kind != "f"
    ):
        return CheckedRanking(NO_RANKING, 0, (Dropped("malformed", np.array([-1])),))
    with np.errstate(over="ignore"):  # what is too large to be sent is infinite, and dropped below
        scores = scores.astype(np.float32)
    dropped: list[Dropped] = []
    kept = np.arange(len(rows))

    def keep(allowed: NDArray[np.bool_], cause: str) -> None:
        nonlocal kept
        if not allowed.all():
            dropped.append(Dropped(cause, rows[kept[~allowed]]))
            kept = kept[allowed]

    keep((rows >= 0) & (rows < len(query.eligible.mask)), "foreign")
    keep(np.isfinite(scores[kept]), "not_finite")
    keep(_first_occurrences(rows[kept]), "duplicate")
    keep(query.eligible.allows(rows[kept]), "ineligible")
    if query.candidates is not None:
        keep(np.isin(rows[kept], query.candidates), "ineligible")
    keep(np.arange(len(kept)) < query.limit, "capped")
    allowed = Ranking(
        rows[kept].astype(np.int32),
        scores[kept],
        _sound_reasons(ranking.reasons, kept, len(rows), len(query.eligible.mask)) if query.explain else (),
    )
    return CheckedRanking(allowed, len(rows), tuple(dropped))


def _sound_reasons(
    reasons: object, kept: NDArray[np.intp], ranked: int, row_count: int
) -> tuple[tuple[Reason, ...], ...]:
    """Return the reasons of the rows that are kept; none unless every ranked row has its own."""
    if not isinstance(reasons, tuple | list) or len(reasons) != ranked:
        return ()
    return tuple(tuple(_sound(reasons[place], row_count)) for place in kept)


def _sound(reasons: object, row_count: int) -> Iterator[Reason]:
    """Yield those of an item's reasons that can be sent: a kind, rows as evidence, a short text."""
    for reason in reasons if isinstance(reasons, tuple | list) else ():
        try:
            kind, evidence = reason.kind, np.asarray(reason.evidence)
            is_kind = _KIND.fullmatch(kind)
            text = str.encode(reason.text).decode()
        except Exception:  # noqa: BLE001, S112 - what stands in a reason's place may raise whatever it likes
            continue
        are_rows = evidence.ndim == 1 and (evidence.dtype.kind in "iu" or not len(evidence))
        is_short = len(text) <= _LONGEST_REASON
        if is_kind and is_short and are_rows and ((evidence >= 0) & (evidence < row_count)).all():
            yield Reason(kind, evidence.astype(np.int32), text)


def _first_occurrences(rows: Rows) -> NDArray[np.bool_]:
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(rows, return_index=True)[1]] = True
    return first

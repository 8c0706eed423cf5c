"""What the pipeline makes of strategies that do what they must not, through the real batcher."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import pytest

from endcap.catalog.configuration.placements import Placement
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.rows import TimedView
from endcap.catalog.memory.schedules import NEVER, Schedule
from endcap.catalog.memory.user_counts import count_log
from endcap.runtime.instances import Generation
from endcap.sdk import NO_RANKING, CatalogView, Eligibility, Query, Ranking, Task
from endcap.sdk.errors import DeadlineExceeded
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.recommending.answer import RecommendationAnswer
from endcap.server.recommending.lookups import Lookups
from endcap.server.recommending.pipeline import Pipeline
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.breaker import BreakerState
from endcap.server.serving.failures import Failure, RungFailed
from endcap.server.serving.ladders import Ladder, Rung
from endcap.server.serving.masks import Masks
from endcap.server.serving.state import ServedShop, ShopState


VIEW = catalog([SampleItem("kettle"), SampleItem("mug"), SampleItem("teapot", available=False)])
KETTLE, MUG, TEAPOT = 0, 1, 2


class Scripted:
    """A strategy that answers every query by a function."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self, answer: Callable[[Query], Ranking]) -> None:
        self.answer = answer
        self.batches: list[int] = []

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        self.batches.append(len(queries))
        return [self.answer(query) for query in queries]


def ranking(rows: list[int], scores: list[float]) -> Ranking:
    return Ranking(np.array(rows, np.int32), np.array(scores, np.float32))


def raises(_query: Query) -> Ranking:
    raise ValueError("a secret")


def exits(_query: Query) -> Ranking:
    raise SystemExit(1)


def blocks(_query: Query) -> Ranking:
    time.sleep(0.3)
    return NO_RANKING


UNASKED = cast("Lookups", None)
"""No test of this file asks the database."""

FLOOR = Scripted(lambda query: ranking([MUG, KETTLE], [2.0, 1.0]))

ONE_ITEM = Query(Task.FOR_YOU, 1, 0, Eligibility(VIEW.available))


def after(seconds: float, strategy: Scripted) -> Callable[[Query], Ranking]:
    """Answer as a strategy does, later."""

    def answer(query: Query) -> Ranking:
        time.sleep(seconds)
        return strategy.answer(query)

    return answer


def batcher(strategy: Scripted, *, name: str = "scripted", max_batch_size: int = 8) -> Batcher:
    return Batcher(name, strategy, max_batch_size=max_batch_size)


async def ask(
    *strategies: Scripted | Batcher,
    seconds: float = 3.0,
    deadline: float = 5.0,
    exclude: tuple[str, ...] = (),
) -> RecommendationAnswer:
    rungs = tuple(
        Rung(
            f"rung-{number}",
            (),
            strategy if isinstance(strategy, Batcher) else batcher(strategy, name=f"rung-{number}"),
        )
        for number, strategy in enumerate(strategies)
    )
    ladder = Ladder(Placement("home", Task.FOR_YOU, (), page_size=2), rungs)
    histories = Histories(VIEW.vocabulary)
    timed_view = TimedView(VIEW, Schedule.of([]), NEVER, 0, count_log(None, histories.log()))
    state = ShopState(timed_view, Masks(VIEW), histories, Generation.of([]), {"home": ladder})
    shop = ServedShop("default", b"key", state, renewed_at=0.0)
    request = RecommendationRequest("r1", "home", time=0, exclude_item_ids=exclude, trace=True)
    pipeline = Pipeline(UNASKED, rung_timeout=seconds, observe_rung=lambda *_rung: None)
    return await pipeline.recommend(request, shop, state, time.monotonic() + deadline)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (raises, Failure.STRATEGY_FAILED),
        (exits, Failure.STRATEGY_FAILED),
        (blocks, Failure.TIMED_OUT),
        (lambda query: None, Failure.INVALID_RANKING),
        (lambda query: ranking([KETTLE, MUG], [float("nan"), float("inf")]), Failure.INVALID_RANKING),
        (lambda query: ranking([-1, 99], [2.0, 1.0]), Failure.INVALID_RANKING),
        (lambda query: ranking([TEAPOT], [1.0]), Failure.INVALID_RANKING),
        (lambda query: ranking([KETTLE], [1.0, 2.0]), Failure.INVALID_RANKING),
    ],
)
async def test_the_next_rung_answers_for_one_that_fails(
    answer: Callable[[Query], Ranking], failure: Failure
) -> None:
    found = await ask(Scripted(answer), FLOOR, seconds=0.1 if answer is blocks else 3.0)

    assert [item.item_id for item in found.items] == ["mug", "kettle"]
    assert {item.rung for item in found.items} == {1}
    assert [rung.failure for rung in found.rungs] == [failure, None]
    assert "secret" not in found.rungs[0].detail


async def test_what_is_valid_of_a_bad_ranking_is_used() -> None:
    found = await ask(Scripted(lambda query: ranking([KETTLE, KETTLE, TEAPOT], [3.0, 2.0, 1.0])), FLOOR)

    assert [(item.item_id, item.rung) for item in found.items] == [("kettle", 0), ("mug", 1)]
    assert [(dropped.cause, dropped.rows.tolist()) for dropped in found.rungs[0].dropped] == [
        ("duplicate", [KETTLE]),
        ("ineligible", [TEAPOT]),
    ]


async def test_an_excluded_item_cannot_appear_whatever_a_strategy_does() -> None:
    found = await ask(FLOOR, exclude=("mug",))

    assert [item.item_id for item in found.items] == ["kettle"]
    assert found.removed == {"available": 1, "expired": 0, "excluded": 1, "seen": 0, "shown": 0}


async def test_an_impatient_client_does_not_suspend_a_strategy_for_its_neighbours() -> None:
    slow = batcher(Scripted(after(0.02, FLOOR)))

    for _ in range(6):
        with pytest.raises(DeadlineExceeded):
            await ask(slow, seconds=0.25, deadline=0.005)
        neighbour = await ask(slow, FLOOR, seconds=0.25)
        assert [rung.failure for rung in neighbour.rungs] == [None]
    for _ in range(6):
        with pytest.raises(DeadlineExceeded):
            await ask(slow, seconds=0.25, deadline=0.005)
        await asyncio.sleep(0.05)  # for the batch under way to end
    patient = await ask(slow, FLOOR, seconds=0.25)

    assert [rung.failure for rung in patient.rungs] == [None]


async def test_waiting_in_the_queue_is_not_a_failure_of_the_strategy() -> None:
    """A query every 20 ms, of which each takes 50 ms of the 200 ms that its rung has."""
    slow = batcher(Scripted(after(0.05, FLOOR)), max_batch_size=1)

    calls = []
    for _ in range(75):
        calls.append(asyncio.create_task(ask(slow, FLOOR, seconds=0.2)))
        await asyncio.sleep(0.02)
    answers = await asyncio.gather(*calls)
    await asyncio.sleep(0.15)  # for the batch under way to end
    alone = await ask(slow, FLOOR, seconds=0.2)

    failures = {answer.rungs[0].failure for answer in answers}
    assert Failure.OVERLOADED in failures
    assert failures <= {None, Failure.OVERLOADED, Failure.TIMED_OUT}  # the last of those run too late
    assert [rung.failure for rung in alone.rungs] == [None]


async def failure_of(broken: Batcher, limit: float = 1.0) -> Failure | None:
    """Ask for one item, and return how that failed."""
    try:
        await broken.ask(ONE_ITEM, VIEW, limit)
    except RungFailed as error:
        return error.failure
    return None


async def test_a_strategy_that_keeps_failing_is_left_alone() -> None:
    broken = batcher(Scripted(raises))

    failures = [await failure_of(broken) for _ in range(6)]

    assert failures == [Failure.STRATEGY_FAILED] * 5 + [Failure.SUSPENDED]


async def test_a_strategy_that_is_late_five_times_in_a_row_is_left_alone() -> None:
    late = batcher(Scripted(after(0.12, FLOOR)))

    failures = []
    for _ in range(6):
        failures.append(await failure_of(late, 0.05))
        await asyncio.sleep(0.15)  # for the batch under way to end

    assert failures[0] is Failure.TIMED_OUT
    assert failures[-1] is Failure.SUSPENDED
    assert set(failures) == {Failure.TIMED_OUT, Failure.SUSPENDED}


async def test_a_strategy_that_never_returns_opens_its_breaker() -> None:
    stuck = batcher(Scripted(after(0.5, FLOOR)))

    failures = [await failure_of(stuck, 0.02), await failure_of(stuck, 0.02)]
    await asyncio.sleep(0.3)

    assert failures == [Failure.TIMED_OUT] * 2
    assert stuck.breaker.state is BreakerState.OPEN


async def test_who_waits_behind_a_batch_that_becomes_late_fails_at_once() -> None:
    stuck = batcher(Scripted(blocks))
    first = asyncio.create_task(failure_of(stuck, 0.05))
    await asyncio.sleep(0)

    started = time.monotonic()
    behind = await failure_of(stuck, 5.0)

    assert behind is Failure.TIMED_OUT
    assert time.monotonic() - started < 0.25  # long before the batch ends
    assert await first is Failure.TIMED_OUT


@pytest.mark.parametrize(
    ("recovered", "then"), [(True, [None, None]), (False, [Failure.STRATEGY_FAILED, Failure.SUSPENDED])]
)
async def test_one_probe_decides_whether_a_suspended_strategy_serves_again(
    *, recovered: bool, then: list[Failure | None]
) -> None:
    now = [0.0]
    broken = [True]

    def answer(query: Query) -> Ranking:
        return raises(query) if broken[0] else NO_RANKING

    strategy = Scripted(answer)
    guarded = Batcher("guarded", strategy, max_batch_size=8, clock=lambda: now[0])
    for _ in range(5):
        await failure_of(guarded)
    now[0] = 4.9
    early = await failure_of(guarded)
    broken[0] = not recovered
    now[0] = 5.0
    probe, beside = await asyncio.gather(failure_of(guarded), failure_of(guarded))
    after_it = await failure_of(guarded)

    assert early is Failure.SUSPENDED
    assert beside is Failure.SUSPENDED
    assert [probe, after_it] == then
    assert strategy.batches == [1] * (7 if recovered else 6)


async def test_queries_that_wait_together_are_answered_together() -> None:
    strategy = Scripted(blocks)
    slow = batcher(strategy)

    await asyncio.gather(*(slow.ask(ONE_ITEM, VIEW, 5.0) for _ in range(5)))

    assert strategy.batches == [1, 4]

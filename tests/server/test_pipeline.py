"""What the pipeline makes of strategies that do what they must not, through the real batcher."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import pytest

from endcap.catalog.histories import Histories
from endcap.catalog.schedules import NEVER, Schedule
from endcap.catalog.user_counts import count_log
from endcap.catalog.view_updates import Stock
from endcap.runtime.instances import Generation
from endcap.sdk import NO_RANKING, CatalogView, Eligibility, Query, Ranking, Task
from endcap.sdk.testing import Item, catalog
from endcap.server.answer import RecommendationAnswer
from endcap.server.batcher import Batcher
from endcap.server.failures import Failure, RungFailed
from endcap.server.ladders import Ladder, Rung
from endcap.server.lookups import Lookups
from endcap.server.masks import Masks
from endcap.server.pipeline import Pipeline
from endcap.server.request import RecommendationRequest
from endcap.server.shops import Shop, ShopState


VIEW = catalog([Item("kettle"), Item("mug"), Item("teapot", available=False)])
KETTLE, MUG, TEAPOT = 0, 1, 2


class Scripted:
    """A strategy that answers every query by a function."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self, answer: Callable[[Query], Ranking]) -> None:
        self._answer = answer
        self.batches: list[int] = []

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        self.batches.append(len(queries))
        return [self._answer(query) for query in queries]


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


async def ask(
    *strategies: Scripted, seconds: float = 3.0, exclude: tuple[str, ...] = ()
) -> RecommendationAnswer:
    rungs = tuple(
        Rung(f"rung-{number}", (), Batcher(f"rung-{number}", strategy, max_batch_size=8))
        for number, strategy in enumerate(strategies)
    )
    ladder = Ladder(Task.FOR_YOU, rungs, exclude_seen=True, seen_types=("purchase",), page_size=2)
    state = ShopState(VIEW, Masks(VIEW), Histories(VIEW.vocabulary), Generation.of([]), {"home": ladder})
    shop = Shop(
        "default",
        b"key",
        state,
        Stock(VIEW, Schedule.of([]), NEVER, 0, count_log(None, state.histories.log())),
        renewed_at=0.0,
    )
    request = RecommendationRequest("r1", "home", time=0, exclude_item_ids=exclude)
    pipeline = Pipeline(UNASKED, rung_timeout=seconds, observe_rung=lambda _outcome: None)
    return await pipeline.recommend(request, shop, state, time.monotonic() + 5)


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
    assert found.removed == {"available": 1, "excluded": 1, "seen": 0, "shown": 0}


async def test_a_strategy_that_keeps_failing_is_left_alone() -> None:
    batcher = Batcher("broken", Scripted(raises), max_batch_size=8)
    query = Query(Task.FOR_YOU, 1, 0, Eligibility(VIEW.available))

    failures = []
    for _ in range(6):
        with pytest.raises(RungFailed) as failed:
            await batcher.ask(query, VIEW, 1.0)
        failures.append(failed.value.failure)

    assert failures == [Failure.STRATEGY_FAILED] * 5 + [Failure.SUSPENDED]


async def test_queries_that_wait_together_are_answered_together() -> None:
    strategy = Scripted(blocks)
    batcher = Batcher("slow", strategy, max_batch_size=8)
    query = Query(Task.FOR_YOU, 1, 0, Eligibility(VIEW.available))

    await asyncio.gather(*(batcher.ask(query, VIEW, 5.0) for _ in range(5)))

    assert strategy.batches == [1, 4]

"""The masks of a view: worked out once, in one thread, and never longer waited for than there is time."""

import asyncio
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.sdk import CatalogView
from endcap.sdk.errors import DeadlineExceeded, Exhausted
from endcap.sdk.filter_expression import And
from endcap.sdk.filters import Filter, parse_filter
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.serving.masks import Masks, MaskWorker


VIEW = catalog(
    [
        SampleItem("kettle", price=30),
        SampleItem("mug", price=8),
        SampleItem("teapot", price=20, available=False),
    ]
)


@dataclass(frozen=True)
class Counted(Filter):
    """A filter that waits for leave, and notes the threads that it was worked out in."""

    may_go: threading.Event = field(default_factory=threading.Event, compare=False)
    threads: list[str] = field(default_factory=list, compare=False)

    def mask(self, view: CatalogView) -> NDArray[np.bool_]:
        self.threads.append(threading.current_thread().name)
        assert self.may_go.wait(10)
        return np.ones(len(view), np.bool_)


def counted(text: str, *, waits: bool = False) -> Counted:
    made = Counted(text, And(()))
    if not waits:
        made.may_go.set()
    return made


async def test_calls_that_ask_for_one_filter_at_a_time_share_the_work() -> None:
    masks, condition = Masks(VIEW), counted("a", waits=True)

    calls = [asyncio.create_task(masks.prepare([condition])) for _ in range(5)]
    await asyncio.sleep(0.01)
    condition.may_go.set()
    await asyncio.gather(*calls)
    await masks.prepare([condition])

    assert len(condition.threads) == 1
    assert masks.of(condition).tolist() == [True] * 3
    assert len(condition.threads) == 1


async def test_all_shops_masks_are_worked_out_in_one_thread() -> None:
    worker = MaskWorker()
    conditions = [counted(str(number)) for number in range(6)]

    await asyncio.gather(*(Masks(VIEW, worker).prepare([each]) for each in conditions))

    assert {name for each in conditions for name in each.threads} == {"masks_0"}


async def test_a_call_waits_no_longer_than_it_has_time_and_what_has_begun_is_kept() -> None:
    masks, condition = Masks(VIEW), counted("a", waits=True)

    with pytest.raises(DeadlineExceeded, match="allow more time, or search less"):
        await masks.prepare([condition], seconds=0.01)
    condition.may_go.set()
    await masks.prepare([condition])

    assert len(condition.threads) == 1


async def test_what_nobody_waits_for_any_more_is_not_worked_out() -> None:
    masks, first, second = Masks(VIEW), counted("first", waits=True), counted("second")

    call = asyncio.create_task(masks.prepare([first]))
    await asyncio.sleep(0.01)
    with pytest.raises(DeadlineExceeded):
        await masks.prepare([second], seconds=0.01)
    first.may_go.set()
    await call
    await masks.prepare([counted("third")])

    assert second.threads == []
    await masks.prepare([second])
    assert second.threads == ["masks_0"]


async def test_a_caller_of_many_new_filters_is_rejected_and_known_ones_are_answered() -> None:
    masks, known = Masks(VIEW), counted("known")
    await masks.prepare([known])
    dear = [counted(f"dear {number}", waits=True) for number in range(MaskWorker.MAX_WAITING)]
    calls = [asyncio.create_task(masks.prepare([each])) for each in dear]
    await asyncio.sleep(0.01)

    with pytest.raises(Exhausted, match="send the same one again"):
        await masks.prepare([counted("one more")])
    await masks.prepare([known])

    for each in dear:
        each.may_go.set()
    await asyncio.gather(*calls)
    await masks.prepare([counted("one more")])


async def test_what_placements_need_outlives_what_calls_ask_for() -> None:
    masks, held = Masks(VIEW), [counted(f"rule {number}") for number in range(200)]
    await masks.hold(held)

    for number in range(200):
        await masks.prepare([counted(f"call {number}")])

    assert [masks.of(each).all() for each in held] == [True] * 200
    assert {len(each.threads) for each in held} == {1}
    assert "MainThread" not in {name for each in held for name in each.threads}


async def test_what_a_placement_ceases_to_need_is_there_for_answers_under_way() -> None:
    masks, before, after = Masks(VIEW), counted("before"), counted("after")
    await masks.hold([before])

    await masks.hold([after])

    masks.of(before)
    masks.of(after)
    assert (len(before.threads), len(after.threads)) == (1, 1)


async def test_one_filter_more_counts_what_it_alone_removes() -> None:
    """Two of three items can be bought, one of them costs less than 20, and none less than 5."""
    cheap, cheaper = parse_filter("price < 20"), parse_filter("price < 5")
    masks, other = Masks(VIEW), Masks(VIEW)

    step_by_step = [masks.eligible(filters) for filters in ([], [cheap], [cheap, cheaper])]
    at_once = other.eligible([cheap, cheaper])

    assert [each.count for each in step_by_step] == [2, 1, 0]
    assert step_by_step[-1].removed == at_once.removed == (1, 1)
    assert masks.eligible([cheap]).mask is step_by_step[1].mask


async def test_masks_of_calls_take_no_more_memory_than_their_bound_and_the_last_used_stay() -> None:
    shelf = catalog([SampleItem(f"i{row}") for row in range(100_000)])
    masks = Masks(shelf)
    held = parse_filter("price < 1")
    await masks.hold([held])
    often = parse_filter("price < 2")

    for number in range(3, 403):  # 400 filters at 100,000 bytes would take 40 MB, and 40 MB put together
        masks.eligible([often, parse_filter(f"price < {number}")])

    # 16 MiB are 16,777,216 bytes: 166 masks of 100,000 bytes and some hundred bytes of text and objects.
    assert {count_of(masks, number) for number in range(403 - 160, 403)} == {1}
    assert {count_of(masks, number) for number in range(3, 403 - 168)} == {0}
    assert count_of(masks, 2) == count_of(masks, 1) == 1  # asked for each time; a placement's own


def count_of(masks: Masks, number: int) -> int:
    """Return how many masks of a filter are at hand."""
    return int(masks._known(f"price < {number}") is not None)

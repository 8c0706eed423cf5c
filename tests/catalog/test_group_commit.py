"""Group commit: what comes in during one commit is the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from endcap.catalog.database.group_commit import GroupCommit
from endcap.sdk.errors import EndcapError, Exhausted, NotFound, Unavailable


class _Commits:
    """Remembers the groups; each commit waits until it is let through."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, entries: Sequence[int]) -> list[int | EndcapError]:
        await self.gate.wait()
        if -1 in entries:
            raise ValueError("an entry that no database can hold")
        self.groups.append(list(entries))
        return [NotFound("no such shop") if entry == 0 else entry * 10 for entry in entries]


async def test_what_comes_in_during_a_commit_is_committed_together() -> None:
    commits = _Commits()
    commits.gate.clear()
    group_commit = GroupCommit(commits, group_size=10, queue_size=100)

    first = asyncio.create_task(group_commit.submit(1))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(group_commit.submit(entry)) for entry in (2, 3, 4)]
    await asyncio.sleep(0.01)
    commits.gate.set()

    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert commits.groups == [[1], [2, 3, 4]]
    await group_commit.close()


async def test_a_group_holds_no_more_than_its_size_but_for_one_large_entry() -> None:
    commits = _Commits()
    group_commit = GroupCommit(commits, group_size=4, queue_size=100)

    sizes = {1: 3, 2: 1, 3: 1, 4: 9}
    await asyncio.gather(*(group_commit.submit(entry, size=size) for entry, size in sizes.items()))

    assert commits.groups == [[1, 2], [3], [4]]
    await group_commit.close()


async def test_a_full_queue_is_exhausted() -> None:
    commits = _Commits()
    commits.gate.clear()
    group_commit = GroupCommit(commits, group_size=1, queue_size=2)

    waiting = [asyncio.create_task(group_commit.submit(entry)) for entry in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Exhausted):
        await group_commit.submit(3)
    commits.gate.set()

    assert await asyncio.gather(*waiting) == [10, 20]
    await group_commit.close()


async def test_a_caller_that_is_cancelled_leaves_its_entry_to_be_committed() -> None:
    commits = _Commits()
    commits.gate.clear()
    group_commit = GroupCommit(commits, group_size=10, queue_size=100)

    cancelled, other = (asyncio.create_task(group_commit.submit(entry)) for entry in (1, 2))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    commits.gate.set()

    assert await other == 20
    assert commits.groups == [[1, 2]]
    await group_commit.close()


async def test_an_entry_can_fail_alone() -> None:
    group_commit = GroupCommit(_Commits(), group_size=10, queue_size=100)

    results = await asyncio.gather(*map(group_commit.submit, (1, 0, -1, 2)), return_exceptions=True)

    assert [type(result) for result in results] == [int, NotFound, ValueError, int]
    await group_commit.close()


async def test_offers_drop_the_oldest_when_too_many_wait() -> None:
    commits = _Commits()
    commits.gate.clear()
    dropped: list[tuple[int, str]] = []
    group_commit = GroupCommit(
        commits, group_size=10, queue_size=2, on_dropped=lambda count, cause: dropped.append((count, cause))
    )

    for entry in (1, 2, 3):
        group_commit.offer(entry)
    commits.gate.set()
    await group_commit.close()

    assert commits.groups == [[2, 3]]
    assert dropped == [(1, "too many writes are waiting: try again")]


async def test_closing_commits_what_waits_and_takes_no_more() -> None:
    commits = _Commits()
    group_commit = GroupCommit(commits, group_size=1, queue_size=10)

    waiting = [asyncio.create_task(group_commit.submit(entry)) for entry in (1, 2, 3)]
    await asyncio.sleep(0)
    await group_commit.close()

    assert await asyncio.gather(*waiting) == [10, 20, 30]
    with pytest.raises(Unavailable):
        await group_commit.submit(4)


async def test_offered_entries_come_together_between_two_pauses() -> None:
    commits = _Commits()
    group_commit = GroupCommit(commits, group_size=3, queue_size=100, pause=0.05)

    group_commit.offer(1)
    await asyncio.sleep(0.01)
    group_commit.offer(2)
    group_commit.offer(3)
    assert commits.groups == [[1]]
    await asyncio.sleep(0.1)
    assert commits.groups == [[1], [2, 3]]

    for entry in (4, 5, 6, 7):
        group_commit.offer(entry)
    await group_commit.close()
    assert commits.groups[2:] == [[4, 5, 6], [7]]


async def test_a_close_waits_for_no_pause() -> None:
    commits = _Commits()
    group_commit = GroupCommit(commits, group_size=3, queue_size=100, pause=3_600)
    group_commit.offer(1)
    await asyncio.sleep(0.01)
    group_commit.offer(2)
    async with asyncio.timeout(5):
        await group_commit.close()
    assert commits.groups == [[1], [2]]


class _Refusing:
    """Refuses so many commits, then takes what comes."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.groups: list[list[int]] = []

    async def __call__(self, entries: Sequence[int]) -> list[int | EndcapError]:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the database is busy")
        self.groups.append(list(entries))
        return list(entries)


@pytest.mark.parametrize(("refusals", "committed"), [(0, [[1]]), (2, [[1]]), (3, [])])
async def test_an_offer_that_the_database_does_not_take_is_tried_again_a_few_times(
    refusals: int, committed: list[list[int]]
) -> None:
    commits, dropped = _Refusing(refusals), []
    group_commit = GroupCommit(
        commits,
        group_size=10,
        queue_size=10,
        retries=(0.01, 0.02),
        on_dropped=lambda count, cause: dropped.append((count, cause)),
    )

    group_commit.offer(1)
    await asyncio.sleep(0.1)
    assert commits.groups == committed
    await group_commit.close()

    assert dropped == ([] if committed else [(1, "the database is busy")])


async def test_closing_waits_for_no_pause_between_attempts_and_tries_once_more() -> None:
    commits = _Refusing(1)
    group_commit = GroupCommit(commits, group_size=10, queue_size=10, retries=(60.0, 60.0))

    group_commit.offer(1)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1):
        await group_commit.close()

    assert commits.groups == [[1]]

"""Waiting for a part that may hang, for at most half of the time that an answer has left."""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar


Answer = TypeVar("Answer")

_under_way: "set[asyncio.Task[Any]]" = set()  # asyncio itself forgets tasks that nobody waits for


async def answer_within(
    deadline: float, work: Coroutine[Any, Any, Answer], *, longest: float = math.inf
) -> Answer:
    """Return the result of some work, if it ends in half of the time that is left.

    Work that takes longer is left to end by itself. To cancel it, as ``asyncio.timeout`` does, would mean to
    wait for it all the same, for a statement that hangs on a disk gives up no earlier than the disk.

    Args:
        deadline: When the caller's answer must be there, by ``time.monotonic``; infinite to wait for the end.
        work: The work to wait for.
        longest: The longest wait, in seconds.

    Raises:
        TimeoutError: The work took longer.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_note_failure)
    _under_way.add(task)
    seconds = min((deadline - time.monotonic()) / 2, longest)
    done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
    if not done:
        raise TimeoutError
    return task.result()


def _note_failure(task: "asyncio.Task[Any]") -> None:
    """Look at the exception of work that nobody waits for any more; asyncio complains of it otherwise."""
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()

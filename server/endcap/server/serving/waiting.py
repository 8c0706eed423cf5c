"""Waiting for a part that may hang, and no longer than there is time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar


Answer = TypeVar("Answer")

_under_way: "set[asyncio.Task[Any]]" = set()  # asyncio itself forgets tasks that nobody waits for


async def answer_within(seconds: float, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the result of some work, if it ends in time.

    Work that takes longer is left to end by itself. To cancel it, as ``asyncio.timeout`` does, would mean to
    wait for it all the same, for a statement that hangs on a disk gives up no earlier than the disk.

    Args:
        seconds: How long to wait.
        work: The work to wait for.

    Raises:
        TimeoutError: The work took longer than ``seconds``.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_note_failure)
    _under_way.add(task)
    done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
    if not done:
        raise TimeoutError
    return task.result()


def _note_failure(task: "asyncio.Task[Any]") -> None:
    """Look at the exception of work that nobody waits for any more; asyncio complains of it otherwise."""
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()

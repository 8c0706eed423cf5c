"""The masks of one view: which rows meet a condition."""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import CatalogView
from endcap.sdk.errors import DeadlineExceeded, Exhausted
from endcap.sdk.filters import Filter
from endcap.sdk.vocabulary import frozen


MAX_KEPT_BYTES = 16 * 1024 * 1024
"""The bytes that the masks of calls may take in one view; masks put together may take as many again.

Anybody who may ask can fill them, and a process holds many shops. It is 16 masks of a million items each, or
more than a hundred of 100,000. Masks of placements are held besides."""

_ENTRY_BYTES = 512  # of the objects around a mask, which weigh more than the mask in a small shop

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, eq=False)
class Eligible:
    """The available rows that pass some filters."""

    mask: NDArray[np.bool_]
    count: int

    removed: tuple[int, ...]
    """Rows that each filter removed and none before it had removed, in the order applied."""


class MaskWorker:
    """One thread that works out the masks that calls ask for, so that they never take more than one core."""

    MAX_WAITING = 32
    """Masks that are waited for at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")
        self._waiting = 0

    def start(self, condition: Filter, view: CatalogView) -> "_Work":
        """Begin to work out a mask, after the masks that wait.

        Raises:
            Exhausted: Too many wait.
        """
        if self._waiting >= self.MAX_WAITING:
            raise Exhausted("too many new filters are being worked out: send the same one again a bit later")
        work = _Work(self._thread.submit(condition.mask, view))
        self._waiting += 1
        work.done.add_done_callback(self._end)
        return work

    def _end(self, _: object) -> None:
        self._waiting -= 1


class _Work:
    """A mask that is being worked out."""

    def __init__(self, thread: "Future[NDArray[np.bool_]]") -> None:
        self._thread = thread
        self.callers = 0
        """Calls that wait for it."""
        self.done = asyncio.wrap_future(thread)

    def leave(self) -> bool:
        """Cease to wait for it; return whether it was given up, as nobody waits and it has not begun."""
        self.callers -= 1
        return not self.callers and self._thread.cancel()


class Masks:
    """The masks of one view: the masks that placements need, and the masks that calls asked for last.

    Use it from one event loop.
    """

    def __init__(self, view: CatalogView, worker: MaskWorker | None = None) -> None:
        # No condition asks for counts, and they weigh more than all else of a view.
        self._view = replace(view, users_by_age=MappingProxyType({}), users_by_week=MappingProxyType({}))
        self._worker = MaskWorker() if worker is None else worker
        self._held: dict[str, NDArray[np.bool_]] = {}
        self._kept: _Recent[str, NDArray[np.bool_]] = _Recent(MAX_KEPT_BYTES)
        self._eligible: _Recent[tuple[str, ...], Eligible] = _Recent(MAX_KEPT_BYTES)
        self._works: dict[str, _Work] = {}

    async def hold(self, conditions: Iterable[Filter]) -> None:
        """Make the masks that placements need, in a thread of their own, and hold them and no others."""
        wanted = {each.text: each for each in conditions}
        masks = {text: mask for text in wanted if (mask := self._known(text)) is not None}
        missing = [each for text, each in wanted.items() if text not in masks]
        masks |= await asyncio.to_thread(lambda: {each.text: each.mask(self._view) for each in missing})
        for text in self._held.keys() - wanted.keys():  # answers under way may still ask for what goes
            self._keep(text, self._held[text])
        self._held = masks

    async def prepare(self, filters: Iterable[Filter], *, seconds: float | None = None) -> None:
        """Make the masks that are not there yet; equal filters that are asked for meanwhile share the work.

        Args:
            filters: What a call is going to ask for.
            seconds: How long to wait; None for as long as it takes.

        Raises:
            Exhausted: Too many masks are being worked out.
            DeadlineExceeded: The time was not enough.
        """
        missing = {each.text: each for each in filters if self._known(each.text) is None}
        if not missing:
            return
        joined: dict[str, _Work] = {}
        try:
            for text, condition in missing.items():
                joined[text] = self._join(condition)
            done, late = await asyncio.wait([work.done for work in joined.values()], timeout=seconds)
        finally:
            for text, work in joined.items():
                if work.leave() and self._works.get(text) is work:
                    del self._works[text]
        if late:
            raise DeadlineExceeded("the filter was not worked out in time: allow more time, or search less")
        for each in done:
            each.result()

    def of(self, condition: Filter) -> NDArray[np.bool_]:
        """Return the rows that meet a condition, available or not; at once where it is prepared."""
        mask = self._known(condition.text)
        if mask is None:
            mask = condition.mask(self._view)
        if condition.text not in self._held:
            self._keep(condition.text, mask)
        return mask

    def eligible(self, filters: Sequence[Filter]) -> Eligible:
        """Return the available rows that pass all filters; equal filters share one mask."""
        texts = tuple(each.text for each in filters)
        eligible = self._eligible.get(texts)
        if eligible is None:
            eligible = self._apply(filters)
        self._eligible.keep(texts, eligible, eligible.mask.nbytes + sum(map(sys.getsizeof, texts)))
        return eligible

    def _apply(self, filters: Sequence[Filter]) -> Eligible:
        known = self._eligible.get(tuple(each.text for each in filters[:-1])) if filters else None
        if known is not None:  # one filter more than a moment ago
            mask = known.mask & self.of(filters[-1])
            count = int(np.count_nonzero(mask))
            return Eligible(frozen(mask), count, (*known.removed, known.count - count))
        mask = self._view.available
        counts = [int(np.count_nonzero(mask))]
        for each in filters:
            mask = mask & self.of(each)
            counts.append(int(np.count_nonzero(mask)))
        return Eligible(frozen(mask), counts[-1], tuple(before - after for before, after in pairwise(counts)))

    def _known(self, text: str) -> NDArray[np.bool_] | None:
        held = self._held.get(text)
        return self._kept.get(text) if held is None else held

    def _join(self, condition: Filter) -> _Work:
        work = self._works.get(condition.text)
        if work is None:
            work = self._works[condition.text] = self._worker.start(condition, self._view)
            work.done.add_done_callback(partial(self._take_in, condition.text, work))
        work.callers += 1
        return work

    def _take_in(self, text: str, work: _Work, done: "asyncio.Future[NDArray[np.bool_]]") -> None:
        if self._works.get(text) is work:
            del self._works[text]
        if not done.cancelled() and done.exception() is None:
            self._keep(text, done.result())

    def _keep(self, text: str, mask: NDArray[np.bool_]) -> None:
        self._kept.keep(text, mask, mask.nbytes + sys.getsizeof(text))


class _Recent(Generic[_Key, _Value]):
    """The values used last, as many as a number of bytes holds; the very last in any case."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: _Key) -> _Value | None:
        found = self._values.get(key)
        return None if found is None else found[0]

    def keep(self, key: _Key, value: _Value, size: int) -> None:
        """Keep a value as the one used last, and let those go that were used longest ago."""
        if key in self._values:
            self.bytes -= self._values.pop(key)[1]
        size += _ENTRY_BYTES
        self._values[key] = (value, size)
        self.bytes += size
        while self.bytes > self._max_bytes and len(self._values) > 1:
            self.bytes -= self._values.popitem(last=False)[1][1]

"""The masks of one view: which rows meet a condition."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import CatalogView
from endcap.sdk.filters import Filter
from endcap.sdk.vocabulary import frozen


_KEPT_MASKS = 64

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, eq=False)
class Eligible:
    """The available rows that pass some filters."""

    mask: NDArray[np.bool_]
    count: int

    removed: tuple[int, ...]
    """Rows that each filter removed and none before it had removed, in the order applied."""


class Masks:
    """The masks of one view, kept for the filters that were used last. Use it from one event loop."""

    def __init__(self, view: CatalogView) -> None:
        self._view = view
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._eligible: OrderedDict[tuple[str, ...], Eligible] = OrderedDict()

    async def prepare(self, filters: Iterable[Filter]) -> None:
        """Make the masks that are not kept, in a thread, so that a slow one stops no other call."""
        missing = [each for each in filters if each.text not in self._masks]
        if missing:
            made = await asyncio.to_thread(lambda: [each.mask(self._view) for each in missing])
            for each, mask in zip(missing, made, strict=True):
                _keep(self._masks, each.text, mask)

    def of(self, condition: Filter) -> NDArray[np.bool_]:
        """Return the rows that meet a condition, available or not."""
        mask = self._masks.get(condition.text)
        if mask is None:
            mask = condition.mask(self._view)
        return _keep(self._masks, condition.text, mask)

    def eligible(self, filters: Sequence[Filter]) -> Eligible:
        """Return the available rows that pass all filters; equal filters share one mask."""
        texts = tuple(each.text for each in filters)
        eligible = self._eligible.get(texts)
        if eligible is None:
            eligible = self._apply(filters)
        return _keep(self._eligible, texts, eligible)

    def _apply(self, filters: Sequence[Filter]) -> Eligible:
        mask = self._view.available
        counts = [int(np.count_nonzero(mask))]
        for each in filters:
            mask = mask & self.of(each)
            counts.append(int(np.count_nonzero(mask)))
        return Eligible(frozen(mask), counts[-1], tuple(before - after for before, after in pairwise(counts)))


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT_MASKS:
        kept.popitem(last=False)
    return value

"""The count of items that share a value, behind caps and window diversity."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from endcap.server.reranking.attributes import Attribute
from endcap.server.reranking.ranked import RankedCandidates


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many items that share a value, in any stretch of so many places."""

    attribute: Attribute
    maximum: int

    window: int | None
    """Places of the stretch; None for the whole page."""


class Tally:
    """The values on a page so far, and the items that they keep out."""

    def __init__(self, limit: Limit, ranking: RankedCandidates) -> None:
        self.limit = limit
        self._view = ranking.context.view
        values, owners = limit.attribute.values(self._view, ranking.rows)
        self._values, codes = np.unique(values, return_inverse=True)
        self._holders = np.zeros((len(self._values), len(ranking)), np.bool_)
        self._holders[codes, owners] = True
        bounds = np.searchsorted(owners, np.arange(len(ranking) + 1)).tolist()
        listed = codes.tolist()
        self._codes = [listed[start:end] for start, end in pairwise(bounds)]
        self._page: dict[int, list[int]] = {}
        self._furthest = -1
        self._counts: Counter[int] = Counter()
        self._exhausted = np.zeros(len(ranking), np.bool_)

    def put(self, index: int, place: int) -> None:
        """Count an item of the ranking at a place; places may be filled in any order."""
        codes = self._codes[index]
        self._page[place] = codes
        self._furthest = max(self._furthest, place)
        if self.limit.window is None:
            for code in codes:
                self._counts[code] += 1
                if self._counts[code] == self.limit.maximum:
                    self._exhausted |= self._holders[code]

    def move(self, place: int, to: int) -> None:
        """Count at another, empty place what was counted at one."""
        self._page[to] = self._page.pop(place)

    def full(self, place: int) -> NDArray[np.bool_] | None:
        """Return the items of the ranking that would exceed the cap at a place; None where none would."""
        if self.limit.window is None:
            return self._exhausted
        codes = self._full_codes(place)
        return np.logical_or.reduce(self._holders[codes]) if codes else None

    def full_rows(self, place: int) -> NDArray[np.bool_]:
        """Return the rows of the view that would exceed the cap at a place."""
        return self.limit.attribute.holding(self._view, self._values[self._full_codes(place)].tolist())

    def _full_codes(self, place: int) -> list[int]:
        window, maximum = self.limit.window, self.limit.maximum
        if window is None:
            return [code for code, count in self._counts.items() if count >= maximum]
        ends = [place]
        if self._furthest > place:
            # A stretch that holds the place ends at it, or later at an item that was pinned ahead of it.
            ends += [ahead for ahead in self._page if place < ahead < place + window]
        full: set[int] = set()
        for end in ends:
            counts: Counter[int] = Counter()
            for at in range(max(end - window + 1, 0), end + 1):
                for code in self._page.get(at, ()):
                    counts[code] += 1
            full.update(code for code, count in counts.items() if count >= maximum)
        return list(full)

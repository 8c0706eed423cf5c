"""What the rules arrange, before and after it is ranked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import CatalogView, Rows, Scores
from endcap.sdk.filters import Filter


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The items that a page is made from, in any order; equal scores stand in the order given."""

    rows: Rows
    """Each at most once."""

    scores: Scores
    """Finite; comparable only within a rung."""

    rungs: NDArray[np.int32]
    """The place in the ladder of the strategy that named each item. Items of a lower number stand before
    all items of a higher one, whatever the boosts; only quotas and pins reach beyond. Rows that are asked
    for later, to lengthen a short page, take a number above all that are there."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a page is made for."""

    view: CatalogView
    page_size: int
    first_page: bool

    mask: Callable[[Filter], NDArray[np.bool_]]
    """The rows of the view that meet a filter; it should keep what it has worked out."""

    exposures: Callable[[int], Mapping[int, int]]
    """For so many milliseconds back: how often each row was shown to the user, who did nothing with it."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates with what they are for."""

    candidates: Candidates
    context: Context

    def __len__(self) -> int:
        return len(self.candidates.rows)

    @cached_property
    def rungs(self) -> list[NDArray[np.int64]]:
        """The positions of each rung's candidates, best rung first."""
        rungs = self.candidates.rungs
        return [np.flatnonzero(rungs == rung) for rung in sorted(set(rungs.tolist()))]

    @cached_property
    def relevance(self) -> NDArray[np.float64]:
        """The scores, scaled to [0, 1] within each rung."""
        return self.scaled(self.candidates.scores)

    def scaled(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scale values of candidates to [0, 1] within each rung; all 0 where a rung's are equal."""
        scaled = np.zeros(len(self))
        for rung in self.rungs:
            of_rung = values[rung].astype(np.float64)
            least = of_rung.min()
            spread = of_rung.max() - least
            if spread > 0:
                scaled[rung] = (of_rung - least) / spread
        return scaled

    def matching(self, filter_: Filter) -> NDArray[np.bool_]:
        """Return which candidates meet a filter."""
        matching: NDArray[np.bool_] = self.context.mask(filter_)[self.candidates.rows]
        return matching


class Ranking:
    """A pool ranked by relevance after boosts: arrays over places in the ranking, the best first."""

    def __init__(self, pool: Pool, relevance: NDArray[np.float64]) -> None:
        self.pool = pool
        rungs = pool.candidates.rungs
        self.positions = np.lexsort((-relevance, rungs))
        """Positions into the candidates."""

        self.rows: Rows = pool.candidates.rows[self.positions]
        self.groups: Rows = pool.context.view.groups[self.rows]
        self.relevance = pool.scaled(relevance)[self.positions]
        """In [0, 1] within each rung."""

        ranked = rungs[self.positions]
        self.rung_ends = np.searchsorted(ranked, ranked, side="right")
        """For each place in the ranking, where its rung ends."""

    def __len__(self) -> int:
        return len(self.positions)

    def matching(self, filter_: Filter) -> NDArray[np.bool_]:
        """Return which places in the ranking meet a filter."""
        return self.pool.matching(filter_)[self.positions]

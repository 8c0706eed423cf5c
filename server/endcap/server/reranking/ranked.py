"""The input of rules: the candidates, the circumstances of the page, and the relevance after boosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import CatalogView, Rows, Scores
from endcap.sdk.filters import Filter


@dataclass(frozen=True, slots=True, eq=False)
class RerankContext:
    """The circumstances that a page is made for."""

    view: CatalogView
    page_size: int
    first_page: bool

    masks: Mapping[str, NDArray[np.bool_]]
    """The rows of the view that meet each filter that a rule names, by the filter's text."""

    time: int = 0
    """Unix milliseconds of the request."""

    exposures: Sequence[tuple[int, int]] = ()
    """Unix milliseconds and row of each time that an item was shown to the user, who did nothing with it."""

    def mask(self, filter_: Filter) -> NDArray[np.bool_]:
        """Return the rows of the view that meet a filter."""
        return self.masks[filter_.text]


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """The items that a page is made from, in any order; equal scores keep the order given."""

    rows: Rows
    """Each at most once."""

    scores: Scores
    """Finite; comparable only within a tier."""

    tiers: NDArray[np.int32]
    """Items of a lower tier rank before all items of a higher one, regardless of boosts; only quotas and pins
    reach beyond. A tier is what one strategy named at one time."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def by_tier(self) -> list[NDArray[np.int64]]:
        """The positions of each tier's candidates, the lowest tier first."""
        return [np.flatnonzero(self.tiers == tier) for tier in np.unique(self.tiers).tolist()]

    def scaled(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scale values of candidates to [0, 1] within each tier; all 0 where a tier's are equal."""
        scaled = np.zeros(len(self))
        for tier in self.by_tier:
            of_tier = values[tier].astype(np.float64)
            least = of_tier.min()
            dispersion = of_tier.max() - least
            if dispersion > 0:
                scaled[tier] = (of_tier - least) / dispersion
        return scaled


class RankedCandidates:
    """Candidates ranked by relevance after boosts: arrays over places in the ranking, the best first."""

    def __init__(
        self, candidates: ScoredCandidates, relevance: NDArray[np.float64], context: RerankContext
    ) -> None:
        self.context = context
        self.positions = np.lexsort((-relevance, candidates.tiers))
        """Positions into the candidates."""

        self.rows: Rows = candidates.rows[self.positions]
        self.groups: Rows = context.view.groups[self.rows]
        self.relevance = candidates.scaled(relevance)[self.positions]
        """In [0, 1] within each tier."""

        ranked = candidates.tiers[self.positions]
        self.tier_ends = np.searchsorted(ranked, ranked, side="right")
        """For each place in the ranking, where its tier ends."""

    def __len__(self) -> int:
        return len(self.positions)

    def matching(self, filter_: Filter) -> NDArray[np.bool_]:
        """Return the places in the ranking that meet a filter."""
        matching: NDArray[np.bool_] = self.context.mask(filter_)[self.rows]
        return matching

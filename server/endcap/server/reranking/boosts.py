"""Rules that lift and bury: boosts, biases and fatigue.

All are shifts of relevance, in units of the spread between the best and the worst score of a tier, and add
up. Where all scores of a tier are equal, any shift decides.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.configuration.rules import BiasTarget
from endcap.sdk import CatalogView, Rows
from endcap.sdk.filters import Filter
from endcap.server.reranking.ranked import RerankContext, ScoredCandidates


_SAMPLE = 10_000  # values that tell well enough where the quarter of a catalog lies


@dataclass(frozen=True, slots=True)
class Boost:
    """Lifts or buries the candidates that match."""

    order: ClassVar[int] = 1
    filter: Filter
    strength: float

    def shift(self, candidates: ScoredCandidates, context: RerankContext) -> NDArray[np.float64]:
        """Return the boost of each candidate; negative where it is buried."""
        return np.where(context.mask(self.filter)[candidates.rows], self.strength, 0.0)

    def preferred(self, context: RerankContext, _: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return the rows of the view that the rule lifts or does not bury; None for strength 0."""
        if not self.strength:
            return None
        matching = context.mask(self.filter)
        return matching if self.strength > 0 else ~matching


@dataclass(frozen=True, slots=True)
class Bias:
    """Lifts or buries candidates by their rank for a target within their tier.

    With strength 1 the one that has most of the target rises by half the spread and the one that has least
    falls by as much; others lie between by their rank, so that one dear item does not make all others
    alike. An item whose target is unknown keeps its rank.
    """

    order: ClassVar[int] = 1
    target: BiasTarget
    strength: float

    def shift(self, candidates: ScoredCandidates, context: RerankContext) -> NDArray[np.float64]:
        """Return the boost of each candidate; negative where it is buried."""
        values = _TARGETS[self.target](context.view, candidates.rows)
        shift = np.zeros(len(candidates))
        for tier in candidates.by_tier:
            known = tier[~np.isnan(values[tier])]
            if len(known):
                shift[known] = self.strength * _standing(values[known])
        return shift

    def preferred(self, context: RerankContext, allowed: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return the rows of the view that the rule lifts most: about a quarter of the eligible rows.

        Where more than three quarters share the least preferred value, all other rows are returned.
        """
        read = _TARGETS[self.target]
        rows = np.flatnonzero(allowed).astype(np.int32)
        sample = np.sign(self.strength) * read(context.view, rows[:: max(len(rows) // _SAMPLE, 1)])
        sample = sample[~np.isnan(sample)]
        if not self.strength or not len(sample):
            return None
        values = np.sign(self.strength) * read(context.view, np.arange(len(context.view), dtype=np.int32))
        quartile = np.quantile(sample, 0.75)
        above: NDArray[np.bool_] = values > quartile
        return above if above[rows].any() else values >= quartile


@dataclass(frozen=True, slots=True)
class Fatigue:
    """Buries candidates that the user was shown and did not act on."""

    order: ClassVar[int] = 2
    exposure_count: int
    window: int
    strength: float

    def shift(self, candidates: ScoredCandidates, context: RerankContext) -> NDArray[np.float64]:
        """Return the boost of each candidate, negative or zero."""
        shown = self._shown(context)
        if not shown:
            return np.zeros(len(candidates))
        times = np.array([float(shown[row]) for row in candidates.rows.tolist()])
        shift: NDArray[np.float64] = -self.strength * np.maximum(times - self.exposure_count, 0.0)
        return shift

    def preferred(self, context: RerankContext, _: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return the rows of the view that the user is not tired of; None where that is every row."""
        tired = [row for row, times in self._shown(context).items() if times > self.exposure_count]
        if not tired:
            return None
        fresh = np.ones(len(context.view), np.bool_)
        fresh[tired] = False
        return fresh

    def _shown(self, context: RerankContext) -> Counter[int]:
        """Return by row how often it was shown within the window."""
        since = context.time - self.window
        return Counter(row for time, row in context.exposures if time >= since)


def _standing(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, from -1/2 for the least to 1/2 for the most; equal values share one."""
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        return np.zeros(len(values))
    ranks = np.cumsum(counts) - (counts + 1) / 2
    standing: NDArray[np.float64] = (ranks / (len(values) - 1) - 0.5)[inverse]
    return standing


def _discount(view: CatalogView, rows: Rows) -> NDArray[np.float64]:
    """Return the reduction as a share of the original price; 0 where the price is not reduced."""
    prices, originals = view.prices[rows], view.original_prices[rows]
    reduced = originals > prices
    discount = np.where(np.isnan(prices), np.nan, 0.0)
    discount[reduced] = 1 - prices[reduced] / originals[reduced]
    return discount


_TARGETS = {
    BiasTarget.PRICE: lambda view, rows: view.prices[rows],
    BiasTarget.MARGIN: lambda view, rows: view.prices[rows] - view.costs[rows],
    BiasTarget.DISCOUNT: _discount,
}

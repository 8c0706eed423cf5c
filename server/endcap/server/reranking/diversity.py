"""Diversity by similarity: which item comes next, given the items on the page.

Both methods weigh relevance, scaled to [0, 1], against similarity by ``level``: with 0 the order stays that
of relevance, with 1 relevance decides nothing but ties.
"""

from abc import ABC, abstractmethod
from math import log
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from endcap.server.reranking.ranked import RankedCandidates
from endcap.server.reranking.similarity import Similarity


_LEAST_VOLUME = 1e-9
"""The least volume that an item adds to a page, so that a copy of another one has a logarithm."""

_ROUNDING = 1e-9


class Dispersion(ABC):
    """The worth of each item of a ranking as the next one of a page."""

    crowded: ClassVar[float]
    """The novelty below which an item shares more than half its words with one on the page."""

    def __init__(self, ranking: RankedCandidates, level: float) -> None:
        self._similarity = Similarity(ranking.context.view, ranking.rows)
        self._level = level
        self._kept = (1 - level) * ranking.relevance
        self._novelty = np.zeros(len(ranking))

    @abstractmethod
    def put(self, index: int) -> None:
        """Take an item onto the page."""

    def best(self, start: int, choice: NDArray[np.bool_]) -> tuple[int, bool]:
        """Return the item that is worth most next, and whether every item is like one on the page.

        Args:
            start: Where the part of the ranking that is chosen from begins.
            choice: For each item of that part, whether it may be chosen.
        """
        end = start + len(choice)
        novelty = self._novelty[start:end]
        worth = self._kept[start:end] + self._level * novelty
        worth[~choice] = -np.inf
        best = int(worth.argmax())
        crowded = self._level > 0 and novelty[best] < self.crowded and novelty[choice].max() < self.crowded
        return start + best, bool(crowded)


class Mmr(Dispersion):
    """Maximal marginal relevance: less the similarity to the most alike item on the page.

    Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998; λ is ``1 - level``.
    """

    crowded = -0.5 - _ROUNDING

    def put(self, index: int) -> None:
        """Take an item onto the page."""
        np.minimum(self._novelty, -self._similarity.to(index), out=self._novelty)


class Dpp(Dispersion):
    """Determinantal point process: the page of the greatest volume, greedily.

    Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process to improve
    recommendation diversity", NeurIPS 2018. With the kernel S of similarities, an item adds
    ``θ relevance + (1 - θ) log d²`` (eq. 18 with θ = ``1 - level``), where d² is what S leaves of the
    item when the page is taken out, kept up by one row of a Cholesky factor an item (algorithm 1).
    """

    crowded = log(1 - 0.5**2) - _ROUNDING

    def __init__(self, ranking: RankedCandidates, level: float) -> None:
        super().__init__(ranking, level)
        self._left = np.ones(len(ranking))
        self._factor = np.empty((ranking.context.page_size, len(ranking)))
        self._placed = 0

    def put(self, index: int) -> None:
        """Take an item onto the page."""
        earlier = self._factor[: self._placed]
        row = self._similarity.to(index) - earlier[:, index] @ earlier
        row /= np.sqrt(max(self._left[index], _LEAST_VOLUME))
        self._factor[self._placed] = row
        self._placed += 1
        self._left -= row * row
        self._novelty = np.log(np.maximum(self._left, _LEAST_VOLUME))

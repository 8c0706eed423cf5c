"""Diversity by likeness: which item next, given those that are on the page.

Both methods weigh relevance, scaled to [0, 1], against likeness by ``level``: with 0 the order stays that
of relevance, with 1 relevance decides nothing but ties.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from endcap.server.rules.pool import Ranking
from endcap.server.rules.similarity import Similarity


_LEAST_VOLUME = 1e-9
"""What an item adds at least to a page, so that a copy of another one has a logarithm."""


class Spread(ABC):
    """The worth of each item of a ranking as the next one of a page."""

    def __init__(self, ranking: Ranking, level: float) -> None:
        self._ranking = ranking
        self._similarity = Similarity(ranking.pool.context.view, ranking.rows)
        self._level = level

    @abstractmethod
    def put(self, index: int) -> None:
        """Take an item onto the page."""

    def worth(self, start: int, end: int) -> NDArray[np.float64]:
        """Return what the items of a part of the ranking are worth next."""
        kept = (1 - self._level) * self._ranking.relevance[start:end]
        return kept + self._level * self._novelty[start:end]

    _novelty: NDArray[np.float64]


class Mmr(Spread):
    """Maximal marginal relevance: less the likeness to the most alike item on the page.

    Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998; λ is ``1 - level``.
    """

    def __init__(self, ranking: Ranking, level: float) -> None:
        super().__init__(ranking, level)
        self._novelty = np.zeros(len(ranking))

    def put(self, index: int) -> None:
        """Take an item onto the page."""
        np.minimum(self._novelty, -self._similarity.to(index), out=self._novelty)


class Dpp(Spread):
    """Determinantal point process: the page of the greatest volume, greedily.

    Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process to improve
    recommendation diversity", NeurIPS 2018. With the kernel S of likenesses, an item adds
    ``θ relevance + (1 - θ) log d²`` (eq. 18 with θ = ``1 - level``), where d² is what S leaves of the
    item when the page is taken out, kept up by one row of a Cholesky factor an item (algorithm 1).
    """

    def __init__(self, ranking: Ranking, level: float) -> None:
        super().__init__(ranking, level)
        self._left = np.ones(len(ranking))
        self._factor = np.empty((ranking.pool.context.page_size, len(ranking)))
        self._placed = 0
        self._novelty = np.zeros(len(ranking))

    def put(self, index: int) -> None:
        """Take an item onto the page."""
        earlier = self._factor[: self._placed]
        row = self._similarity.to(index) - earlier[:, index] @ earlier
        row /= np.sqrt(max(self._left[index], _LEAST_VOLUME))
        self._factor[self._placed] = row
        self._placed += 1
        self._left -= row * row
        self._novelty = np.log(np.maximum(self._left, _LEAST_VOLUME))

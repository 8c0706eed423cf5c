"""Accuracy of rankings: hit rate, recall, precision, NDCG and MRR, exact under ties.

Items of equal score have no order, so each metric is its expected value over a
uniformly random order of every group of tied items. Two numbers a target suffice:
how many items are certainly ranked before it, and how many share its score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.ragged import Ragged
from endcap.sdk.vocabulary import Rows, Scores


UNRANKED = np.iinfo(np.int64).max // 2
"""The rank of a target that the ranking does not hold: beyond every cutoff."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The ranks of the targets; one entry a flat position of the targets."""

    before: NDArray[np.int64]
    """How many items are certainly ranked before the target; ``UNRANKED`` for a target not ranked at all."""

    tied: NDArray[np.int64]
    """How many items share the target's score, the target included."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the ranks of several parts, one part behind the other."""
        return cls(
            np.concatenate([part.before for part in parts]), np.concatenate([part.tied for part in parts])
        )


def ranks_by_score(scores: Scores, targets: Ragged) -> Ranks:
    """Return the ranks of targets when all items are ranked by score.

    Args:
        scores: ``(cases, items)``; NaN and -inf mean that the item is not ranked.
        targets: One list of distinct item rows a case.
    """
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    before = np.full(len(targets.flat), UNRANKED, np.int64)
    tied = np.ones(len(targets.flat), np.int64)
    lengths = targets.lengths
    for slot in range(lengths.max(initial=0)):
        cases = np.flatnonzero(lengths > slot)
        positions = targets.offsets[cases] + slot
        own = scores[cases, targets.flat[positions]]
        ranked = own > -np.inf
        cases, positions, own = cases[ranked], positions[ranked], own[ranked, None]
        rivals = scores if len(cases) == len(scores) else scores[cases]
        before[positions] = np.count_nonzero(rivals > own, axis=1)
        tied[positions] = np.count_nonzero(rivals == own, axis=1)
    return Ranks(before, tied)


def ranks_in_lists(lists: Rows, targets: Ragged) -> Ranks:
    """Return the ranks of targets in recommended lists.

    Args:
        lists: Item rows from best to worst, ``(cases, length)``; -1 fills a short list.
        targets: One list of distinct item rows a case.
    """
    found = lists[targets.owners] == targets.flat[:, None]  # (flat targets, length)
    before = np.where(found.any(axis=1), found.argmax(axis=1), UNRANKED)
    return Ranks(before, np.ones(len(targets.flat), np.int64))


def accuracy(
    ranks: Ranks, targets: Ragged, cutoffs: Sequence[int], grades: Values | None = None
) -> dict[str, Values]:
    """Return each metric at each cutoff, one value a case.

    With ``k`` the cutoff: ``hit@k`` is 1 when at least one target is among the first ``k``. ``recall@k`` is
    the share of the targets found there, ``precision@k`` the share of the ``k`` places that they fill.
    ``ndcg@k`` discounts by ``log2(1 + rank)``, relative to the best ranking possible, which has the
    ``min(k, targets)`` most relevant targets on top; a target of grade ``g`` gains ``2^g - 1`` (Burges et
    al., "Learning to rank using gradient descent", 2005). ``mrr@k`` is one over the rank of the first target,
    0 beyond ``k``.

    Args:
        ranks: The ranks of the targets.
        targets: One list of distinct item rows a case, none empty.
        cutoffs: The values of ``k``, each at least 1.
        grades: How relevant each flat position of ``targets`` is; 1 where there are none.
    """
    deepest = max(cutoffs)
    worth = np.ones(len(targets.flat)) if grades is None else 2.0**grades - 1
    ideal = worth[np.lexsort((-worth, targets.owners))]
    places = np.arange(len(ideal)) - targets.offsets[targets.owners]
    gains = np.concatenate(
        [[0.0], np.cumsum(1 / np.log2(np.arange(2, deepest + 2)))]
    )  # gains[n]: n targets on top
    first_at = _first_target(ranks, targets, deepest)  # (cases, deepest)
    metrics: dict[str, Values] = {}
    for cutoff in cutoffs:
        start = np.minimum(ranks.before, cutoff)
        end = np.minimum(ranks.before + ranks.tied, cutoff)
        found = _sum_by_case((end - start) / ranks.tied, targets)
        gain = _sum_by_case(worth * (gains[end] - gains[start]) / ranks.tied, targets)
        most = _sum_by_case(np.where(places < cutoff, ideal / np.log2(places + 2), 0), targets)
        metrics[f"hit@{cutoff}"] = first_at[:, :cutoff].sum(axis=1)
        metrics[f"recall@{cutoff}"] = found / targets.lengths
        metrics[f"precision@{cutoff}"] = found / cutoff
        metrics[f"ndcg@{cutoff}"] = gain / most
        metrics[f"mrr@{cutoff}"] = first_at[:, :cutoff] @ (1 / np.arange(1, cutoff + 1))
    return metrics


def _sum_by_case(values: Values, targets: Ragged) -> Values:
    return np.add.reduceat(values, targets.offsets[:-1]) if len(values) else np.zeros(len(targets))


def _first_target(ranks: Ranks, targets: Ragged, deepest: int) -> Values:
    """Return the probability that a case's first target has rank 1, 2, …, ``deepest``; ``(cases, deepest)``.

    Only the best group of tied items that holds a target matters. Drawn without replacement from its
    ``tied`` items, ``alike`` of them targets, the next item is one with probability ``alike / remaining``.
    """
    owners = targets.owners
    before = np.full(len(targets), UNRANKED, np.int64)
    np.minimum.at(before, owners, ranks.before)
    best = ranks.before == before[owners]
    alike = np.bincount(owners[best], minlength=len(targets))
    tied = np.ones(len(targets), np.int64)
    tied[owners[best]] = ranks.tied[best]

    probability = np.zeros((len(targets), deepest))
    none_yet = np.ones(len(targets))
    for draw in range(deepest):
        chance = np.minimum(alike / np.maximum(tied - draw, 1), 1.0)
        reached = np.flatnonzero(before + draw < deepest)
        probability[reached, before[reached] + draw] = (none_yet * chance)[reached]
        none_yet *= 1 - chance
    return probability

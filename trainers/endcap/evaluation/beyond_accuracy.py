"""Metrics beyond accuracy: coverage, novelty, diversity and popularity bias of recommended lists."""

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.ragged import offsets_of
from endcap.sdk.catalog_view import EventColumns
from endcap.sdk.vocabulary import Rows


def recommendation_counts(lists: Rows, item_count: int) -> NDArray[np.int64]:
    """Return the number of times that each item is recommended; ``(items,)``.

    Args:
        lists: Item rows, ``(cases, length)``; -1 fills a short list.
        item_count: How many items there are.
    """
    return np.bincount(lists[lists >= 0], minlength=item_count)


def catalog_coverage(counts: NDArray[np.int64]) -> float:
    """Return the share of the items that are recommended to anybody."""
    return float(np.count_nonzero(counts) / len(counts))


def gini(counts: NDArray[np.int64]) -> float:
    """Return the Gini coefficient of recommendations over items: 0 when even, near 1 when all fall on one."""
    total = counts.sum()
    if total == 0:
        return 0.0
    ranks = np.arange(1, len(counts) + 1)
    return float((2 * ranks - len(counts) - 1) @ np.sort(counts) / (len(counts) * total))


class ItemUsers:
    """Which users did something with each item."""

    def __init__(self, events: EventColumns, item_count: int) -> None:
        numbers, users = np.unique(events.users, return_inverse=True)
        self.user_count = len(numbers)
        """How many users there are."""
        pairs = np.unique(events.rows.astype(np.int64) * max(self.user_count, 1) + users)
        items, self._users = np.divmod(pairs, max(self.user_count, 1))
        self.sizes = np.bincount(items, minlength=item_count)
        """How many distinct users each item has; ``(items,)``."""
        self._offsets = offsets_of(self.sizes)

    def of(self, item: int) -> NDArray[np.int64]:
        """Return the users of one item, numbered from 0."""
        return self._users[self._offsets[item] : self._offsets[item + 1]]


def novelty(lists: Rows, item_users: ItemUsers) -> float:
    """Return the mean self-information of recommended items, in bits.

    An item that a share ``p`` of the users knows carries ``-log2(p)`` bits, one that nobody knows as many
    as if one user did (Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender
    systems", 2010).
    """
    shown = lists[lists >= 0]
    if not len(shown) or not item_users.user_count:
        return 0.0
    return float(np.mean(np.log2(item_users.user_count / np.maximum(item_users.sizes[shown], 1))))


def intra_list_diversity(lists: Rows, item_users: ItemUsers, *, sample: int = 2000, seed: int = 0) -> float:
    """Return the mean dissimilarity of the items of one list, from 0 to 1.

    Two items are alike by the cosine of the sets of users who did something with them; a list's diversity
    is one less the mean over its pairs (Ziegler et al., "Improving recommendation lists through topic
    diversification", 2005). Lists of fewer than two items have none and are left out.

    Args:
        lists: Item rows, ``(cases, length)``; -1 fills a short list.
        item_users: Who did something with which item.
        sample: At most this many lists are looked at, drawn at random.
        seed: Fixes the draw.
    """
    longer = np.flatnonzero((lists >= 0).sum(axis=1) >= 2)
    if len(longer) > sample:
        longer = np.random.default_rng(seed).choice(longer, sample, replace=False)
    if not len(longer):
        return 0.0
    return float(np.mean([_diversity(items[items >= 0], item_users) for items in lists[longer]]))


def _diversity(items: Rows, item_users: ItemUsers) -> float:
    # With unit vectors v, the sum over all ordered pairs of v·w is |Σv|² - Σ|v|²: no pair is formed.
    users = np.concatenate([item_users.of(item) for item in items])
    sizes = item_users.sizes[items]
    total = np.bincount(users, np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes))
    alike = total @ total - np.count_nonzero(sizes)
    return float(1 - alike / (len(items) * (len(items) - 1)))

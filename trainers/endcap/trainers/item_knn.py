"""Item-kNN: how often two items occur together, divided by how popular either is. No iterations.

Similarities ``S[i, j] = C[i, j] / (p[i] ** a · p[j] ** b)``, source ``i``, candidate ``j``:

==================  =============================================================  ====  ====
                    C[i, j]                                                        a     b
==================  =============================================================  ====  ====
sequence, near      Σ 1/d where j is d places after i, .7/d where it is before,    .5    .2
                    d = 1 … 11; p counts events
sequence, after     Σ 1/d where j is d places after i                              .5    .2
basket, near        Σ 1 / (1 + n) over customers with both, n their number of      .5    .7
                    products; p counts customers
basket, after       Σ 1 / (1 + n) over baskets with both; p counts baskets         1     .2
==================  =============================================================  ====  ====

An event counts by its weight as evidence, a pair by the product of the two, and p sums up sizes of weights.
*near* answers for-you and similar. *after* is directional and answers related: what follows in a sequence,
and the share of the source's baskets that hold the candidate, so that the rare items of a cart, which are the
most informative, weigh most. A basket holds the items that one user chose at one moment.

Deshpande and Karypis, "Item-based top-N recommendation algorithms" (TOIS 2004), has this normalisation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from endcap.sdk import parameter
from endcap.sdk.positives import weigh_pairs
from endcap.sdk.profiles import PROFILE_INPUTS, PROFILE_OPTION, profile_scores
from endcap.trainers.interactions import Interactions, WeighedEvents, pair_matrix
from endcap.trainers.similarity import similarity_rows, strongest
from endcap.trainers.trainer import Progress, TrainedModel


MAXIMUM_DISTANCE = 11
BACKWARD_WEIGHT = 0.7

SEQUENCE_PAIRS = 4_000_000
"""The neighbors of all items that sequence mode keeps together: all make 332 MiB of 12,000 items."""

FEWEST_NEIGHBORS = 100
"""The neighbors that sequence mode keeps of an item however many items there are."""

BASKET_ITEMS = 20_000
"""Up to this many items, basket mode keeps all neighbors, for rare items head its lists."""

BASKET_NEIGHBORS = 1_000
"""The neighbors kept in basket mode of more items."""

CELLS_AT_ONCE = 20_000_000
"""The most pairs of items that are counted before the nearest of them are chosen."""


@dataclass(frozen=True)
class ItemKnnParameters:
    """Hyperparameters of ``item_knn``."""

    mode: str = parameter(
        "auto",
        "Co-occurrence: of near events in a 'sequence', or in a customer's 'basket'. 'auto' is basket if most"
        " events share their moment with another of the same user.",
        choices=("auto", "sequence", "basket"),
    )
    max_neighbors: int = parameter(
        0,
        "Neighbors k kept of each item, the most similar; higher is more accurate and larger. 0 takes"
        f" {SEQUENCE_PAIRS:,} in sequence mode, divided by the items, at least {FEWEST_NEIGHBORS}; in basket"
        f" mode all of up to {BASKET_ITEMS:,} items, and {BASKET_NEIGHBORS:,} of more.",
        minimum=0,
    )


class ItemKnnNetwork(nn.Module):
    """Adds up the similarities of a profile's items."""

    def __init__(self, near: sparse.csr_array, after: sparse.csr_array) -> None:
        super().__init__()
        self.near = similarity_rows(near)
        self.after = similarity_rows(after)

    def forward(self, rows: Tensor, weights: Tensor, directional: Tensor) -> Tensor:
        """Score every item for each profile.

        Args:
            rows: The items of all profiles, ``(items of profiles,)``.
            weights: The weight of each item in each profile, ``(profiles, items of profiles)``.
            directional: True for profiles that are scored by *after*, ``(profiles,)``.
        """
        near = weights @ self.near(rows)  # (profiles, items)
        after: Tensor = weights @ self.after(rows)  # (profiles, items)
        return after.where(directional[:, None], near)


class ItemKnnTrainer:
    """Counts pairs."""

    name = "item_knn"
    parameters: type[Any] = ItemKnnParameters

    def train(
        self, interactions: Interactions, parameters: ItemKnnParameters, progress: Progress
    ) -> TrainedModel:
        """Count pairs and divide by popularity."""
        positives, item_count = interactions.positives, len(interactions.item_ids)
        mode = parameters.mode if parameters.mode != "auto" else likely_mode(positives)
        progress(0.0, f"counting pairs of items, {mode} mode")
        similarities = sequence_similarities if mode == "sequence" else basket_similarities
        near, after = similarities(
            positives, item_count, parameters.max_neighbors or default_neighbors(mode, item_count)
        )
        progress(1.0, "done")

        return TrainedModel(
            module=ItemKnnNetwork(near, after).eval(),
            inputs={**PROFILE_INPUTS, "directional": PROFILE_OPTION},
            outputs=profile_scores(item_count),
            item_ids=interactions.item_ids,
            state={"mode": mode, "positives": interactions.definition.to_json()},
        )


def likely_mode(positives: WeighedEvents) -> str:
    """Return ``basket`` when most events share their moment with another of the same user."""
    _, baskets, sizes = _baskets(positives)
    return "basket" if np.mean(sizes[baskets] > 1) > 0.5 else "sequence"


def default_neighbors(mode: str, item_count: int) -> int:
    """Return how many neighbors are kept of each item unless it is set."""
    if mode == "sequence":
        return max(FEWEST_NEIGHBORS, SEQUENCE_PAIRS // item_count)
    return item_count if item_count <= BASKET_ITEMS else BASKET_NEIGHBORS


def sequence_similarities(
    positives: WeighedEvents, item_count: int, max_neighbors: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return the similarities *near* and *after* of sequence mode, ``(source, candidate)``."""
    by_user = np.argsort(positives.users, kind="stable")
    users, rows, weights = positives.users[by_user], positives.rows[by_user], positives.weights[by_user]
    after = sparse.csr_array((item_count, item_count), dtype=np.float32)
    for distance in range(1, MAXIMUM_DISTANCE + 1):
        same = users[distance:] == users[:-distance]
        sources, candidates = rows[:-distance][same], rows[distance:][same]
        counts = (weights[:-distance] * weights[distance:])[same] / np.float32(distance)
        after = after + sparse.csr_array((counts, (sources, candidates)), shape=after.shape)
    near = after + np.float32(BACKWARD_WEIGHT) * after.T
    popularity = np.maximum(np.bincount(rows, np.abs(weights), minlength=item_count), 1)
    weights_of = popularity**-0.5, popularity**-0.2
    return (
        strongest(_scaled(near, *weights_of), max_neighbors),
        strongest(_scaled(after, *weights_of), max_neighbors),
    )


def basket_similarities(
    positives: WeighedEvents, item_count: int, max_neighbors: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return the similarities *near* and *after* of basket mode, ``(source, candidate)``."""
    of_customers = pair_matrix(positives.pairs(), item_count)
    of_baskets = pair_matrix(
        weigh_pairs(_baskets(positives)[1], positives.rows, positives.weights, positives.times), item_count
    )
    return _nearest(of_customers, 0.5, 0.7, max_neighbors), _nearest(of_baskets, 1.0, 0.2, max_neighbors)


def _nearest(
    groups: sparse.csr_array, source: float, candidate: float, max_neighbors: int
) -> sparse.csr_array:
    """Return the greatest similarities of each item, ``(source, candidate)``, counted some items at a time.

    A pair of items in one group counts the product of their weights, by ``1 / (1 + group size)``. The
    popularity of an item is the sum of the sizes of its weights, at least 1.
    """
    item_count = groups.shape[1]
    popularity = np.maximum(np.bincount(groups.indices, np.abs(groups.data), minlength=item_count), 1)
    weighted = groups.multiply((1 / (1 + np.diff(groups.indptr))).astype(np.float32)[:, None]).tocsr()
    by_item, at_once = groups.T.tocsr(), max(1, CELLS_AT_ONCE // item_count)
    parts = []
    for start in range(0, item_count, at_once):
        own = slice(start, start + at_once)
        pairs = sparse.csr_array(by_item[own] @ weighted)
        pairs.setdiag(0, k=start)
        pairs.eliminate_zeros()
        parts.append(
            strongest(_scaled(pairs, popularity[own] ** -source, popularity**-candidate), max_neighbors)
        )
    return sparse.csr_array(sparse.vstack(parts))


def _baskets(positives: WeighedEvents) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    moments = np.stack([positives.users, positives.times])
    unique, baskets, sizes = np.unique(moments, axis=1, return_inverse=True, return_counts=True)
    return unique, baskets, sizes


def _scaled(
    counts: sparse.csr_array, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> sparse.csr_array:
    """Return the matrix with each row and each column multiplied by a number."""
    by_row, by_column = (sparse.diags_array(each.astype(np.float32)) for each in (rows, columns))
    return sparse.csr_array(by_row @ counts @ by_column)


trainer = ItemKnnTrainer()

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
        "Neighbors k kept of each item, the most similar; higher is more accurate and larger, 0 keeps all."
        " Basket mode needs thousands, for rare items head its lists.",
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
        near, after = similarities(positives, item_count)
        if parameters.max_neighbors:
            progress(0.7, "choosing neighbors")
            near, after = (
                strongest(near, parameters.max_neighbors),
                strongest(after, parameters.max_neighbors),
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


def sequence_similarities(
    positives: WeighedEvents, item_count: int
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
    return _normalised(near, popularity, 0.5, 0.2), _normalised(after, popularity, 0.5, 0.2)


def basket_similarities(
    positives: WeighedEvents, item_count: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return the similarities *near* and *after* of basket mode, ``(source, candidate)``."""
    near, customers = _pairs(pair_matrix(positives.pairs(), item_count))
    of_baskets = weigh_pairs(_baskets(positives)[1], positives.rows, positives.weights, positives.times)
    after, baskets = _pairs(pair_matrix(of_baskets, item_count))
    return _normalised(near, customers, 0.5, 0.7), _normalised(after, baskets, 1.0, 0.2)


def _pairs(groups: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Count pairs of items in one group, each by ``1 / (1 + group size)``, and the groups of each item.

    A pair counts the product of its weights, a group the size of the item's weight.
    """
    sizes = np.diff(groups.indptr)
    weighted = groups.multiply((1 / (1 + sizes)).astype(np.float32)[:, None]).tocsr()
    pairs = sparse.csr_array(groups.T @ weighted)
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs, np.maximum(np.bincount(groups.indices, np.abs(groups.data), minlength=groups.shape[1]), 1)


def _baskets(positives: WeighedEvents) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    moments = np.stack([positives.users, positives.times])
    unique, baskets, sizes = np.unique(moments, axis=1, return_inverse=True, return_counts=True)
    return unique, baskets, sizes


def _normalised(
    counts: sparse.csr_array, popularity: NDArray[np.float64], source: float, candidate: float
) -> sparse.csr_array:
    by_source = sparse.diags_array((popularity**-source).astype(np.float32))
    by_candidate = sparse.diags_array((popularity**-candidate).astype(np.float32))
    return sparse.csr_array(by_source @ counts @ by_candidate)


trainer = ItemKnnTrainer()

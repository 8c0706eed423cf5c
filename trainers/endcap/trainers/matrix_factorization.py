"""Matrix factorization of implicit feedback; users are folded in when a query asks about them.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008). With ``p = 1``
where a user chose an item and 0 elsewhere, and the confidence ``c = 1 + α |r|``, it minimises

    Σ c[u, i] (p[u, i] − x[u]ᵀ y[i])² + λ (Σ |x[u]|² + Σ |y[i]|²)

by alternating least squares: with the items fixed each user has a closed form (their equation 4), and the
other way round. Here ``r`` is not a count but the evidence times the recency
``.5 ** (age / half-life)`` of the last event. Evidence against an item, ``r < 0``, makes ``p = 0`` surer.

A user's embedding depends on nothing but the item embeddings and the user's own positives, so it is not kept.
The graph solves for it again, by conjugate gradients, for any history.

With ``loss`` "bpr" the item embeddings are then trained to rank: a part of each user's positives is hidden,
users are folded in from the rest, and the item embeddings follow the gradient of
``−log σ(s (x·y[i] − x·y[j]))`` for hidden ``i`` and random ``j`` (Rendle et al., "BPR", UAI 2009).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from endcap.sdk import parameter
from endcap.sdk.features import age_decay
from endcap.sdk.profiles import PROFILE_INPUTS, PROFILE_OPTION, profile_scores
from endcap.trainers.interactions import Interactions, pair_matrix
from endcap.trainers.trainer import Progress, TrainedModel


FOLD_IN_STEPS = 12
"""Steps of conjugate gradients in the graph: more change nothing, even for a history of a thousand items."""

CELLS_AT_ONCE = 60_000
"""How many cells of the matrix, padding included, one batch of least squares holds."""

HIDDEN_SHARE = 0.3
"""The part of all positives that one round of ranking hides."""

RANKING_ROUNDS = 10
RANKING_BATCH = 8192
RANKING_RATE = 0.002
RANKING_SCALE = 10.0
"""``s``: scores lie between 0 and 1, where the logistic function is nearly straight."""

SMALLEST = 1e-30
"""Keeps a division by a residual of zero from being one."""


@dataclass(frozen=True)
class MatrixFactorizationParameters:
    """Hyperparameters of ``matrix_factorization``."""

    embedding_size: int = parameter(
        64,
        "Embedding size: numbers in the vector of an item; higher tells finer preferences apart and needs"
        " more data.",
        minimum=1,
        maximum=1024,
    )
    regularization: float = parameter(
        30.0, "L2 regularization λ; higher shrinks embeddings towards zero.", minimum=1e-6
    )
    confidence: float = parameter(
        5.0,
        "Confidence α: extra weight of a positive of age 0; higher fits positives closer.",
        minimum=0,
    )
    half_life_days: float = parameter(
        30.0,
        "Half-life of the confidence in days; higher keeps old positives, 0 weighs all alike.",
        minimum=0,
    )
    epochs: int = parameter(8, "Rounds of alternating least squares; higher fits closer, slower.", minimum=1)
    loss: str = parameter(
        "squared",
        "Loss: the 'squared' error, or after it the pairwise ranking loss 'bpr'.",
        choices=("squared", "bpr"),
    )
    seed: int = parameter(0, "Seed of the initial embeddings and of the hidden positives.", minimum=0)


class MatrixFactorizationNetwork(nn.Module):
    """Folds users in from their profiles and scores every item for them."""

    def __init__(self, items: Tensor, regularization: float, confidence: float) -> None:
        """Keep the item embeddings in two forms.

        Args:
            items: ``Y``, ``(items, embedding size)``.
            regularization: λ.
            confidence: α.
        """
        super().__init__()
        self.confidence = confidence
        self.whitened: Tensor
        self.unit: Tensor
        self.register_buffer("whitened", whiten(items, regularization))
        self.register_buffer("unit", nn.functional.normalize(items))

    def forward(self, rows: Tensor, weights: Tensor, similar: Tensor) -> Tensor:
        """Score every item for each profile.

        Args:
            rows: The items of all profiles, ``(items of profiles,)``.
            weights: ``r`` of each item in each profile, 0 where the profile lacks it, below 0 against it,
                ``(profiles, items of profiles)``.
            similar: True for profiles that are scored by the cosine, ``(profiles,)``.
        """
        items = self.whitened[rows]  # (items of profiles, embedding size)
        extra = self.confidence * weights.abs()  # (profiles, items of profiles)
        users = conjugate_gradients(
            lambda users: users + (extra * (users @ items.T)) @ items,
            ((weights > 0) * (1 + extra)) @ items,
            FOLD_IN_STEPS,
        )  # (profiles, embedding size)
        # Profiles are summed up first: the product of all their items with all items would be far larger.
        cosine = (weights @ self.unit[rows]) @ self.unit.T  # (profiles, items)
        return cosine.where(similar[:, None], users @ self.whitened.T)


class MatrixFactorizationTrainer:
    """Alternates between users and items."""

    name = "matrix_factorization"
    parameters: type[Any] = MatrixFactorizationParameters

    def train(
        self, interactions: Interactions, parameters: MatrixFactorizationParameters, progress: Progress
    ) -> TrainedModel:
        """Find the item embeddings."""
        recency = recencies(interactions, parameters.half_life_days)
        start = initial_embeddings(interactions.item_ids, parameters.embedding_size, parameters.seed)
        items = factorize(recency, start, parameters, progress)
        if parameters.loss == "bpr":
            items = _learn_to_rank(items, recency, parameters, progress)
        progress(1.0, "done")

        return TrainedModel(
            module=MatrixFactorizationNetwork(items, parameters.regularization, parameters.confidence).eval(),
            inputs={**PROFILE_INPUTS, "similar": PROFILE_OPTION},
            outputs=profile_scores(len(items)),
            item_ids=interactions.item_ids,
            state={
                "half_life_days": parameters.half_life_days,
                "positives": interactions.definition.to_json(),
            },
        )


def initial_embeddings(item_ids: Sequence[str], size: int, seed: int) -> Tensor:
    """Draw a small embedding for each item by its id, so that the order of items does not matter.

    Args:
        item_ids: The items.
        size: The embedding size.
        seed: Fixes what is drawn.
    """
    embeddings = np.empty((len(item_ids), size), np.float32)
    for own, item_id in zip(embeddings, item_ids, strict=True):
        digest = hashlib.blake2b(item_id.encode(), digest_size=8).digest()
        own[:] = np.random.default_rng([seed, int.from_bytes(digest)]).standard_normal(size, np.float32)
    return torch.from_numpy(embeddings * np.float32(0.1 / size**0.5))


def factorize(
    recency: sparse.csr_array, items: Tensor, parameters: MatrixFactorizationParameters, progress: Progress
) -> Tensor:
    """Return the item embeddings of least squared error, ``(items, embedding size)``.

    Args:
        recency: ``r``, ``(users, items)``.
        items: The embeddings to begin with, ``(items, embedding size)``.
        parameters: The hyperparameters.
        progress: Called with the share done.
    """
    by_item = recency.T.tocsr()
    for iteration in range(parameters.epochs):
        progress(iteration / parameters.epochs, "alternating least squares")
        users = least_squares(recency, items, parameters.regularization, parameters.confidence)
        items = least_squares(by_item, users, parameters.regularization, parameters.confidence)
    return items


def recencies(interactions: Interactions, half_life_days: float) -> sparse.csr_array:
    """Return ``r``, ``(users, items)`` float32: a user's evidence of an item times its recency."""
    pairs = interactions.positives.pairs()
    decay = age_decay(pairs.times, interactions.as_of, half_life_days)
    return pair_matrix(replace(pairs, weights=pairs.weights * decay), len(interactions.item_ids))


def least_squares(
    recency: sparse.csr_array, embeddings: Tensor, regularization: float, confidence: float
) -> Tensor:
    """Solve for one side of the factorization, the other side fixed.

    Args:
        recency: ``r``, ``(solved, fixed)``.
        embeddings: Those of the fixed side, ``(fixed, embedding size)``.
        regularization: λ.
        confidence: α.

    Returns:
        ``(solved, embedding size)``; zeros for a row without any choice.
    """
    size = embeddings.shape[1]
    solved = embeddings.new_zeros(recency.shape[0], size)
    everything = embeddings.T @ embeddings + regularization * torch.eye(size)  # (size, size)
    for rows, places, filled in _batches(recency.indptr):
        columns = torch.from_numpy(recency.indices[places].astype(np.int64))  # (rows, length)
        chosen = embeddings[columns]  # (rows, length, embedding size)
        known = torch.from_numpy(filled)  # (rows, length)
        evidence = torch.from_numpy(recency.data[places]) * known  # (rows, length)
        extra = confidence * evidence.abs()  # (rows, length)
        matrices = everything + chosen.mT @ (extra[..., None] * chosen)  # (rows, size, size)
        right = ((evidence > 0) * (1 + extra))[:, None] @ chosen  # (rows, 1, embedding size)
        triangles = torch.linalg.cholesky(matrices)
        solved[torch.from_numpy(rows)] = torch.cholesky_solve(right.mT, triangles)[..., 0]
    return solved


def whiten(embeddings: Tensor, regularization: float) -> Tensor:
    """Return ``W = Y L⁻ᵀ`` where ``L Lᵀ = YᵀY + λI``, ``(items, embedding size)``.

    With W in the place of Y, least squares has the identity where it had ``YᵀY + λI``: it gives other users
    and the same scores, and conjugate gradients need a few steps only.
    """
    gram = embeddings.T @ embeddings + regularization * torch.eye(embeddings.shape[1])
    triangle = torch.linalg.cholesky(gram)
    whitened: Tensor = torch.linalg.solve_triangular(triangle, embeddings.T, upper=False)
    return whitened.T.contiguous()


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    """Solve ``A x = right`` for each row, from x = 0 (Hestenes and Stiefel 1952).

    Args:
        apply: Multiplies each row by its own A, which is symmetric and positive definite.
        right: ``(rows, size)``.
        steps: How many iterations.
    """
    solution, residual, direction = torch.zeros_like(right), right, right
    length = (residual * residual).sum(1, keepdim=True)  # (rows, 1)
    for _ in range(steps):
        image = apply(direction)
        step = length / (direction * image).sum(1, keepdim=True).clamp_min(SMALLEST)
        solution = solution + step * direction
        residual = residual - step * image
        previous, length = length, (residual * residual).sum(1, keepdim=True)
        direction = residual + length / previous.clamp_min(SMALLEST) * direction
    return solution


def _learn_to_rank(
    items: Tensor,
    recency: sparse.csr_array,
    parameters: MatrixFactorizationParameters,
    progress: Progress,
) -> Tensor:
    """Train the item embeddings further by the pairwise ranking loss, positives weighted by recency."""
    generator = np.random.default_rng(parameters.seed)
    embeddings = nn.Parameter(items.clone())
    optimizer = torch.optim.Adam([embeddings], lr=RANKING_RATE)
    for number in range(RANKING_ROUNDS):
        progress(number / RANKING_ROUNDS, "learning to rank")
        shown, hidden = hide(recency, generator)
        users = least_squares(shown, embeddings.detach(), parameters.regularization, parameters.confidence)
        order = generator.permutation(hidden.nnz)
        for start in range(0, hidden.nnz, RANKING_BATCH):
            batch = order[start : start + RANKING_BATCH]
            others = torch.from_numpy(generator.integers(0, len(items), len(batch)))
            better = embeddings[torch.from_numpy(hidden.col[batch].astype(np.int64))]  # (batch, size)
            asked = users[torch.from_numpy(hidden.row[batch].astype(np.int64))]  # (batch, size)
            lead = (asked * (better - embeddings[others])).sum(1)  # (batch,)
            weights = torch.from_numpy(hidden.data[batch])
            loss = -(weights * nn.functional.logsigmoid(RANKING_SCALE * lead)).sum() / weights.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return embeddings.detach()


def hide(
    recency: sparse.csr_array, generator: np.random.Generator
) -> tuple[sparse.csr_array, sparse.coo_array]:
    """Split the cells of a matrix at random into those shown and the ``HIDDEN_SHARE`` of positives hidden."""
    cells = recency.tocoo()
    hidden = (generator.random(cells.nnz) < HIDDEN_SHARE) & (cells.data > 0)

    def part(chosen: NDArray[np.bool_]) -> sparse.coo_array:
        return sparse.coo_array(
            (cells.data[chosen], (cells.row[chosen], cells.col[chosen])), shape=cells.shape
        )

    return part(~hidden).tocsr(), part(hidden)


def _batches(
    offsets: NDArray[np.integer],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Batch the rows of a sparse matrix, those of like length together.

    Yields:
        The rows, the places of their cells ``(rows, length)``, and which of these are no padding.
    """
    lengths = np.diff(offsets)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        # The last row of a batch is its longest, and all rows are padded to its length.
        ahead = lengths[order[start : start + CELLS_AT_ONCE]]
        fitting = np.searchsorted(ahead * np.arange(1, len(ahead) + 1), CELLS_AT_ONCE, side="right")
        end = start + max(1, int(fitting))
        rows = order[start:end]
        filled = np.arange(lengths[rows[-1]]) < lengths[rows, None]
        yield rows, np.where(filled, offsets[rows, None] + np.arange(lengths[rows[-1]]), 0), filled
        start = end


trainer = MatrixFactorizationTrainer()

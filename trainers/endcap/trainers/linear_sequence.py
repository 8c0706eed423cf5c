"""Linear sequence: the closed-form linear model of what follows what, with a kernel of texts and attributes.

Each place of each user's sequence gives a row of ``S``, the items up to there weighted ``past_decay ** age``,
and a row of ``T``, the items after it weighted ``future_decay ** distance``. The model is the ridge
regression of T on S (Choi et al., "Session-aware linear item-item models for session-based recommendation",
WWW 2021), to which the kernel ``K`` adds that like items precede and follow the same items:

    B = (SᵀS + f K + λI)⁻¹ (SᵀT + f K)

A user's scores are the sum of the rows of B of the last items, weighted ``history_decay ** age``. Of each row
the largest weights are kept.

The inverse is exact for the ``exact_items`` most chosen sources. Other sources are taken one by one, as if no
other item were chosen with them: ``B[i] = (SᵀT + f K)[i] / (SᵀS + f K + λI)[i, i]``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from endcap.sdk import build_view, parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.sequences import SEQUENCE_INPUTS, SEQUENCE_OUTPUTS, SequenceEncoding
from endcap.trainers.content_kernel import content_factor
from endcap.trainers.interactions import Interactions, WeighedEvents
from endcap.trainers.trainer import Progress, TrainedModel


LONGEST = 12
"""Items further apart than this have no weight worth counting."""

COLUMNS_AT_ONCE = 1024
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class LinearSequenceParameters:
    """Hyperparameters of ``linear_sequence``."""

    regularization: float = parameter(
        10.0, "L2 regularization λ; higher shrinks towards what is frequent.", minimum=1e-6
    )
    content_weight: float = parameter(
        4.0,
        "Weight f of the content kernel; higher trusts texts and attributes more, 0 ignores them.",
        minimum=0,
    )
    past_decay: float = parameter(
        0.5, "Weight of a past item relative to the next newer one.", minimum=0.01, maximum=0.99
    )
    future_decay: float = parameter(
        0.3, "Weight of a future item relative to the one before it.", minimum=0.01, maximum=0.99
    )
    history_decay: float = parameter(
        0.6, "Weight of an item of a query's history relative to the next newer one.", minimum=0.01, maximum=1
    )
    length: int = parameter(20, "Items of a history that are read, the last ones.", minimum=1, maximum=1000)
    max_neighbors: int = parameter(
        100, "Weights kept of each item, the largest; higher is more accurate and larger.", minimum=1
    )
    exact_items: int = parameter(
        6_000,
        "Items that are solved for together, the most chosen; higher relates more rare items, and memory"
        " grows with its square (0.3 GB at 6,000).",
        minimum=1,
        maximum=30_000,
    )


class LinearSequenceNetwork(nn.Module):
    """Adds up the kept weights of a sequence's items."""

    def __init__(self, neighbors: NDArray[np.int32], weights: NDArray[np.float32], decay: float) -> None:
        """Keep the weights.

        Args:
            neighbors: The items that follow each item, ``(items, neighbors)``.
            weights: Their weights, ``(items, neighbors)``.
            decay: The weight of an item of a sequence relative to the next newer one.
        """
        super().__init__()
        self.decay = decay
        self.neighbors: Tensor
        self.weights: Tensor
        # The padding row points to item 0 with weight 0.
        self.register_buffer("neighbors", torch.from_numpy(np.pad(neighbors, ((0, 1), (0, 0)))))
        self.register_buffer("weights", torch.from_numpy(np.pad(weights, ((0, 1), (0, 0)))))

    def forward(self, items: Tensor) -> Tensor:
        """Score every item for each sequence, ``(sequences, items)``.

        Args:
            items: ``(sequences, length)``, left padded with the number of items.
        """
        ages = torch.arange(items.shape[1]).flip(0)  # (length,)
        added = self.weights[items] * (self.decay**ages)[:, None]  # (sequences, length, neighbors)
        scores = added.new_zeros(items.shape[0], self.weights.shape[0] - 1)
        return scores.scatter_add(1, self.neighbors[items].long().flatten(1), added.flatten(1))


class LinearSequenceTrainer:
    """Counts pairs and solves one system of equations."""

    name = "linear_sequence"
    parameters: type[Any] = LinearSequenceParameters

    def train(
        self, interactions: Interactions, parameters: LinearSequenceParameters, progress: Progress
    ) -> TrainedModel:
        """Solve for the weights.

        Raises:
            InvalidInput: Nobody chose two items.
        """
        progress(0.0, "counting pairs of items")
        positives, item_count = interactions.positives.in_favour(), len(interactions.item_ids)
        past, future = sequence_pairs(positives, item_count, parameters.past_decay, parameters.future_decay)
        if not future.nnz:
            raise InvalidInput(
                "nobody chose two items, so nothing follows anything: record more events first"
            )
        view = build_view(
            interactions.items, interactions.events, version="training", as_of=interactions.as_of
        )
        content = content_factor(view) * np.float32(parameters.content_weight**0.5)
        counts = np.bincount(positives.rows, minlength=item_count)
        chosen = np.lexsort((np.array(interactions.item_ids), -counts))  # ids decide between equal counts
        exact = np.sort(chosen[: parameters.exact_items])
        progress(0.05, f"solving for {len(exact):,} of {item_count:,} items")
        best = LargestWeights(item_count, min(parameters.max_neighbors, item_count))
        for done, (rows, columns, weights) in enumerate(
            solve(past, future, content, exact, parameters.regularization)
        ):
            best.add(rows, columns, weights)
            progress(min(0.1 + 0.9 * done * COLUMNS_AT_ONCE / item_count, 0.99), "solving")
        progress(1.0, "done")
        return TrainedModel(
            module=LinearSequenceNetwork(
                best.columns.astype(np.int32), best.weights, parameters.history_decay
            ).eval(),
            inputs=SEQUENCE_INPUTS,
            outputs=SEQUENCE_OUTPUTS,
            item_ids=interactions.item_ids,
            state={
                "encoding": SequenceEncoding(parameters.length).to_json(),
                "positives": interactions.definition.to_json(),
            },
        )


class LargestWeights:
    """The largest weights of each row so far, and their columns."""

    def __init__(self, row_count: int, count: int) -> None:
        self.weights = np.zeros((row_count, count), np.float32)
        """Zero where a row has fewer weights above zero."""
        self.columns = np.zeros((row_count, count), np.int64)

    def add(self, rows: NDArray[np.int64], columns: NDArray[np.int64], weights: Tensor) -> None:
        """Take in further weights of some rows.

        Args:
            rows: The rows.
            columns: The columns that the weights belong to; each comes once for a row.
            weights: ``(rows, columns)``.
        """
        count = self.weights.shape[1]
        values = torch.cat([torch.from_numpy(self.weights[rows]), weights], dim=1)
        largest, places = torch.topk(values, count, dim=1, sorted=False)
        before = np.broadcast_to(columns, (len(rows), len(columns)))
        candidates = np.concatenate([self.columns[rows], before], axis=1)
        self.weights[rows] = largest.numpy()
        self.columns[rows] = np.take_along_axis(candidates, places.numpy(), axis=1)


def sequence_pairs(
    positives: WeighedEvents, item_count: int, past_decay: float, future_decay: float
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return ``SᵀS`` and ``SᵀT``, ``(items, items)`` float32.

    With ``a`` the decay of the past and ``b`` that of the future, two items of one sequence at a distance
    ``d`` add ``a^d (1 − a^(2n)) / (1 − a²)`` to SᵀS, where ``n`` counts the places from the later item on
    that have a future, and ``(a^d − b^d) / (a − b)`` to SᵀT, or ``d a^(d − 1)`` if a = b.
    """
    by_user = np.lexsort((positives.times, positives.users))
    users, rows = positives.users[by_user], positives.rows[by_user]
    ends = np.searchsorted(users, users, side="right")
    left = ends - 1 - np.arange(len(rows))  # how many events of the sequence follow each one
    shape = (item_count, item_count)
    past = sparse.csr_array(shape, dtype=np.float32)
    future = sparse.csr_array(shape, dtype=np.float32)
    for distance in range(LONGEST + 1):
        first = np.flatnonzero(left >= distance)
        last = first + distance
        shared = past_decay**distance * (1 - past_decay ** (2 * left[last])) / (1 - past_decay**2)
        pairs = _matrix(shared, rows[first], rows[last], shape)
        past = past + (pairs if distance == 0 else pairs + pairs.T)
        if distance:
            following = sum(past_decay**k * future_decay ** (distance - 1 - k) for k in range(distance))
            future = future + _matrix(np.full(len(first), following), rows[first], rows[last], shape)
    return past, future


def solve(
    past: sparse.csr_array,
    future: sparse.csr_array,
    content: sparse.csr_array,
    exact: NDArray[np.int64],
    regularization: float,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Tensor]]:
    """Solve for ``B`` in parts.

    Args:
        past: ``SᵀS``.
        future: ``SᵀT``.
        content: The factor ``X`` of the kernel, ``f K = X Xᵀ``.
        exact: The sources that are solved for together.
        regularization: λ.

    Yields:
        Rows of B, some of its columns, and its values there.
    """
    everything = np.arange(past.shape[0])
    system = _dense(past[exact][:, exact], content[exact], content[exact])
    system.diagonal().add_(regularization)
    triangle = torch.linalg.cholesky(system)
    del system
    by_column = future.tocsc()
    for start in range(0, len(everything), COLUMNS_AT_ONCE):
        columns = everything[start : start + COLUMNS_AT_ONCE]
        right = _dense(by_column[:, columns][exact], content[exact], content[columns])
        yield exact, columns, torch.cholesky_solve(right, triangle)
    diagonal = past.diagonal() + np.asarray(content.multiply(content).sum(axis=1)).ravel() + regularization
    others = np.setdiff1d(everything, exact, assume_unique=True)
    for start in range(0, len(others), ROWS_AT_ONCE):
        rows = others[start : start + ROWS_AT_ONCE]
        right = _dense(future[rows], content[rows], content)
        yield rows, everything, right / torch.from_numpy(diagonal[rows].astype(np.float32))[:, None]


def _dense(counts: sparse.csr_array, left: sparse.csr_array, right: sparse.csr_array) -> Tensor:
    """Return ``counts + left rightᵀ``, ``(rows, columns)`` float32."""
    return torch.from_numpy(counts.toarray() + (left @ right.T).toarray())


def _matrix(
    values: NDArray[np.floating], rows: NDArray[np.int32], columns: NDArray[np.int32], shape: tuple[int, int]
) -> sparse.csr_array:
    return sparse.csr_array((values.astype(np.float32), (rows, columns)), shape=shape)


trainer = LinearSequenceTrainer()

"""Next purchase: the linear model that predicts a customer's next purchases from all earlier ones.

The snapshot's last weeks are cut into windows of equal length. With row ``u`` of ``S[k]`` the history of a
customer before window ``k``, each product once and weighted by its age at that time, and row ``u`` of
``T[k]`` the products that the customer first bought in the window, the model is the ridge regression

    B = (Σ w[k] S[k]ᵀS[k] + λI)⁻¹ Σ w[k] S[k]ᵀT[k]

where the weight ``w`` of a window halves with its age. A customer's scores are ``s B``. ``ease`` models
which products belong together, this model which follow. Its diagonal needs no constraint, as no product is
bought for the first time twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from endcap.sdk import parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY, age_decay
from endcap.sdk.positives import WeighedPairs
from endcap.sdk.profiles import PROFILE_INPUTS, profile_scores
from endcap.trainers.ease import MAXIMUM_ITEMS, EaseNetwork
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import Progress, TrainedModel


@dataclass(frozen=True)
class NextPurchaseParameters:
    """Hyperparameters of ``next_purchase``."""

    regularization: float = parameter(
        300.0,
        "L2 regularization λ, in customers; higher shrinks towards popularity.",
        minimum=1e-6,
    )
    window_days: float = parameter(7.0, "Length of a window in days; higher looks further ahead.", minimum=1)
    windows: int = parameter(
        8, "Number of windows, back from the snapshot; higher trains on older purchases.", minimum=1
    )
    window_half_life_days: float = parameter(
        8.0, "Half-life of a window's weight w in days; higher keeps old windows, 0 is no decay.", minimum=0
    )
    history_half_life_days: float = parameter(
        240.0,
        "Half-life of an item's weight in days; higher keeps old items, 0 is no decay.",
        minimum=0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class TrainingWindow:
    """The histories before a window, and the first purchases in it."""

    history: sparse.csr_array
    """``S``, ``(customers, items)``."""

    bought: sparse.csr_array
    """``T``, ``(customers, items)``: the evidence of each item that a customer bought for the first time."""

    weight: float
    """``w``."""


class NextPurchaseTrainer:
    """Solves one system of equations."""

    name = "next_purchase"
    parameters: type[Any] = NextPurchaseParameters

    def train(
        self, interactions: Interactions, parameters: NextPurchaseParameters, progress: Progress
    ) -> TrainedModel:
        """Solve for the weights.

        Raises:
            InvalidInput: There are more than ``MAXIMUM_ITEMS`` items, or no window holds a first purchase of
                a customer with a history.
        """
        item_count = len(interactions.item_ids)
        if item_count > MAXIMUM_ITEMS:
            raise InvalidInput(
                f"next_purchase relates every two items and holds at most {MAXIMUM_ITEMS:,}, the snapshot has"
                f" {item_count:,}: train matrix_factorization instead"
            )
        found = list(windows(interactions, parameters))
        if not any((window.history.T @ window.bought).nnz for window in found):
            raise InvalidInput(
                "nobody who had bought before bought anything new in the windows: set 'windows' or"
                " 'window_days' so that they reach back to such purchases"
            )
        progress(0.2, f"solving for {item_count:,} items")
        weights = solve(found, parameters.regularization)
        progress(1.0, "done")

        return TrainedModel(
            module=EaseNetwork(weights).eval(),
            inputs=PROFILE_INPUTS,
            outputs=profile_scores(item_count),
            item_ids=interactions.item_ids,
            state={
                "history_half_life_days": parameters.history_half_life_days,
                "positives": interactions.definition.to_json(),
            },
        )


def windows(interactions: Interactions, parameters: NextPurchaseParameters) -> Iterator[TrainingWindow]:
    """Cut windows, the latest first."""
    positives, length = interactions.positives, round(parameters.window_days * DAY)
    shape = (int(positives.users.max()) + 1, len(interactions.item_ids))
    for number in range(parameters.windows):
        end = interactions.as_of + 1 - number * length
        start = end - length
        before = positives.times < start
        history = _matrix(positives.of(before).pairs(), shape, start, parameters.history_half_life_days)
        bought = _matrix(positives.of(~before & (positives.times < end)).pairs(), shape)
        bought = bought - bought.multiply(_pattern(history))
        bought.eliminate_zeros()
        weight = age_decay(np.array([start]), interactions.as_of + 1, parameters.window_half_life_days)
        yield TrainingWindow(history, bought, float(weight[0]))


def solve(windows: list[TrainingWindow], regularization: float) -> NDArray[np.float32]:
    """Return ``B``, ``(source, candidate)``.

    Args:
        windows: The training windows.
        regularization: λ.
    """
    item_count = windows[0].history.shape[1]
    left = regularization * torch.eye(item_count, dtype=torch.float64)  # (items, items)
    right = torch.zeros_like(left)  # (items, items)
    for window in windows:
        # A customer without a new purchase in a window gives no evidence of preferences.
        active = np.flatnonzero(np.diff(window.bought.indptr))
        history, bought = window.history[active], window.bought[active]
        left += torch.from_numpy(window.weight * (history.T @ history).toarray())
        right += torch.from_numpy(window.weight * (history.T @ bought).toarray())
    weights = torch.cholesky_solve(right, torch.linalg.cholesky(left))
    return weights.float().numpy()


def _matrix(
    pairs: WeighedPairs, shape: tuple[int, int], now: int = 0, half_life_days: float = 0.0
) -> sparse.csr_array:
    """Return the evidence of each customer for each item, weighted by its age, ``shape``."""
    weights = pairs.weights * age_decay(pairs.times, now, half_life_days)
    return sparse.csr_array((weights, (pairs.users, pairs.rows)), shape=shape)


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return 1 wherever the matrix holds a value."""
    ones = np.ones(matrix.nnz, np.float32)
    return sparse.csr_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape)


trainer = NextPurchaseTrainer()

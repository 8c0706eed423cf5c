"""EASE: the linear model that predicts each product of a customer from all the others, in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019). With the matrix ``X`` of the
evidence of customers for products, ``P = (XᵀX + λI)⁻¹`` and ``B[i, j] = −P[i, j] / P[j, j]`` off the
diagonal, ``B`` is the ridge regression of every column of ``X`` on all others. A customer's scores
are ``x B``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from endcap.sdk import parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.profiles import PROFILE_INPUTS, profile_scores
from endcap.trainers.interactions import Interactions
from endcap.trainers.similarity import DenseRows
from endcap.trainers.trainer import Progress, TrainedModel


MAXIMUM_ITEMS = 20_000
"""The matrix of more items takes more than 3.2 GB in training, and its inverse as much again."""


@dataclass(frozen=True)
class EaseParameters:
    """Hyperparameters of ``ease``."""

    regularization: float = parameter(
        200.0,
        "L2 regularization λ, in customers; higher shrinks towards popularity.",
        minimum=1e-6,
    )


class EaseNetwork(nn.Module):
    """Adds up the rows of ``B`` that belong to a profile's items."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.similarities = DenseRows(weights)

    def forward(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Score every item for each profile.

        Args:
            rows: The items of all profiles, ``(items of profiles,)``.
            weights: What each counts in each profile, ``(profiles, items of profiles)``.
        """
        scores: Tensor = weights @ self.similarities(rows)  # (profiles, items)
        return scores


class EaseTrainer:
    """Inverts one matrix."""

    name = "ease"
    parameters: type[Any] = EaseParameters

    def train(
        self, interactions: Interactions, parameters: EaseParameters, progress: Progress
    ) -> TrainedModel:
        """Solve for the weights.

        Raises:
            InvalidInput: There are more than ``MAXIMUM_ITEMS`` items.
        """
        item_count = len(interactions.item_ids)
        if item_count > MAXIMUM_ITEMS:
            raise InvalidInput(
                f"ease relates every two items and holds at most {MAXIMUM_ITEMS:,}, the snapshot has"
                f" {item_count:,}: train item_knn with 'max_neighbors' instead"
            )
        progress(0.0, f"inverting a matrix of {item_count:,} items")
        weights = solve(interactions.matrix(), parameters.regularization)
        progress(1.0, "done")

        return TrainedModel(
            module=EaseNetwork(weights).eval(),
            inputs=PROFILE_INPUTS,
            outputs=profile_scores(item_count),
            item_ids=interactions.item_ids,
            state={"positives": interactions.definition.to_json()},
        )


def solve(matrix: sparse.csr_array, regularization: float) -> NDArray[np.float32]:
    """Return ``B``, ``(source, candidate)``, its diagonal zero.

    Args:
        matrix: The evidence, ``(users, items)``, below 0 against an item.
        regularization: λ.
    """
    gram = torch.from_numpy((matrix.T @ matrix).toarray().astype(np.float64))  # (items, items)
    gram.diagonal().add_(regularization)
    precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))  # (items, items)
    weights = precision / -precision.diagonal()
    weights.fill_diagonal_(0)
    return weights.float().numpy()


trainer = EaseTrainer()

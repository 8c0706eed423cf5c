"""The contract of trainers finds a trainer that breaks a promise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from endcap.sdk.errors import BundleRefused
from endcap.trainers import ease
from endcap.trainers.interactions import Interactions
from endcap.trainers.testing import TrainerContract, checkerboard
from endcap.trainers.trainer import Progress, TrainedModel


Weights = NDArray[np.float32]


@dataclass
class Changed:
    """Trains ``ease`` and changes its weights, ``(items, items)``."""

    change: Callable[[Weights], Weights]
    network: Callable[[Weights], torch.nn.Module] = ease.EaseNetwork
    name: str = "ease"
    parameters: type[Any] = ease.EaseParameters

    def train(
        self, interactions: Interactions, parameters: ease.EaseParameters, progress: Progress
    ) -> TrainedModel:
        trained = ease.trainer.train(interactions, parameters, progress)
        weights = trained.module.state_dict()["similarities.matrix"].numpy()
        return replace(trained, module=self.network(self.change(weights)).eval())


def contract_of(tried: Changed) -> TrainerContract:
    class Contract(TrainerContract):
        trainer, strategy = tried, "ease"
        parameters = ease.EaseParameters(regularization=1)
        expected_hit = 1.0

    return Contract()


def noise(weights: Weights) -> Weights:
    return weights + 0.1 * np.random.default_rng().random(weights.shape, np.float32)


def noise_by_place(weights: Weights) -> Weights:
    return weights + 0.1 * np.random.default_rng(0).random(weights.shape, np.float32)


def nothing(weights: Weights) -> Weights:
    return weights


class Centred(ease.EaseNetwork):
    """Takes the mean of the batch from each score."""

    def forward(self, rows: Tensor, weights: Tensor) -> Tensor:
        scores = super().forward(rows, weights)
        return scores - scores.mean(0)


class Divided(ease.EaseNetwork):
    """Divides by the sum of the weights, which is 0 for an empty profile."""

    def forward(self, rows: Tensor, weights: Tensor) -> Tensor:
        return super().forward(rows, weights) / weights.sum(1, keepdim=True)


def test_a_trainer_that_draws_without_a_seed_is_found() -> None:
    with pytest.raises(AssertionError, match=r"two trainings must write the same .*: seed all draws"):
        contract_of(Changed(noise)).test_equal_seeds_give_equal_bundles()


def test_a_trainer_that_draws_by_place_is_found() -> None:
    with pytest.raises(AssertionError, match="another order of items and users must not change a score"):
        contract_of(Changed(noise_by_place)).test_the_order_of_items_and_users_does_not_matter()


def test_a_network_that_mixes_the_queries_of_a_batch_is_found() -> None:
    with pytest.raises(AssertionError, match="a batch must not change a score"):
        contract_of(Changed(nothing, Centred)).test_a_batch_is_scored_like_its_queries_one_by_one()


def test_a_network_that_gives_no_number_for_an_empty_profile_is_found() -> None:
    with pytest.raises(BundleRefused, match="not finite"):
        contract_of(Changed(nothing, Divided)).test_what_serves_scores_as_pytorch_does()


def test_a_trainer_that_learns_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match=r"the hit rate is 0\.\d+, below 1\.0"):
        contract_of(Changed(np.zeros_like)).test_the_pattern_is_learned()


def test_another_order_is_the_same_data() -> None:
    """Each user of another order chose the items of one user before, by id."""
    data = checkerboard()
    other = data.permuted(1)

    def chosen(each: Any) -> list[tuple[str, ...]]:
        ids, events = np.array(each.interactions.item_ids), each.interactions.events
        return sorted(
            (ids[target], *ids[events.rows[events.users == user]]) for user, target in enumerate(each.targets)
        )

    assert other.interactions.item_ids != data.interactions.item_ids
    assert chosen(other) == chosen(data)

"""Popular: weights of users by age, so that recent ones count and old ones only break ties.

A user who last chose an item ``a`` days ago counts ``.5 ** (a / half_life)`` within the window, and a
ten-thousandth beyond it. Ages are those of ``features.AGE_MIDPOINTS``. By default everybody within 30 days
counts alike. With ``choose`` both numbers maximise recall@20 on the last 30 days of the snapshot. The targets
are the items that known users chose for the first time in those days; the counts are of the days before.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.sdk import ItemColumns, Role, Rows, TensorSpec, build_view, parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import AGE_BUCKETS, AGE_MIDPOINTS, DAY
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import Progress, TrainedModel


OLD = 1e-4
VALIDATION_DAYS = 30
CUTOFF = 20
VALIDATION_USERS = 2000
"""At most this many users are in the validation set."""

WINDOWS = (7, 14, 30, 90, 365)
HALF_LIVES = (0.0, 3.0, 7.0, 14.0, 30.0, 90.0)


@dataclass(frozen=True)
class PopularTrainingParameters:
    """Hyperparameters of ``popular``."""

    window_days: float = parameter(
        30.0, "Window in days; higher lets users of longer ago count, older ones only break ties.", minimum=1
    )
    half_life_days: float = parameter(
        0.0, "Half-life of a user's weight in days; higher decays slower, 0 is no decay.", minimum=0
    )
    choose: bool = parameter(False, "Choose window and half-life by recall@20 on the last 30 days.")


class PopularNetwork(nn.Module):
    """Adds up the users of each item, weighted by age."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.from_numpy(weights))

    def forward(self, users_by_age: Tensor) -> Tensor:
        """Score every item from its users, ``(age buckets, items)``."""
        return self.weights @ users_by_age  # (items,)


class PopularTrainer:
    """Computes the weights, after choosing the window and half-life when asked to."""

    name = "popular"
    parameters: type[Any] = PopularTrainingParameters

    def train(
        self, interactions: Interactions, parameters: PopularTrainingParameters, progress: Progress
    ) -> TrainedModel:
        """Compute the weights.

        Raises:
            InvalidInput: ``choose`` is set, and no known user chose a new item in the last 30 days.
        """
        metrics = {}
        if parameters.choose:
            parameters, recall = _choose(interactions, parameters, progress)
            metrics = {f"validation_recall@{CUTOFF}": recall}
        progress(1.0, "done")

        return TrainedModel(
            module=PopularNetwork(age_weights(parameters.window_days, parameters.half_life_days)).eval(),
            inputs={"users_by_age": TensorSpec((AGE_BUCKETS, "items"), "float32", Role.VALUES)},
            outputs={"scores": TensorSpec(("items",), "float32", Role.VALUES)},
            item_ids=interactions.item_ids,
            state={"window_days": parameters.window_days, "half_life_days": parameters.half_life_days},
            metrics=metrics,
        )


def age_weights(window_days: float, half_life_days: float) -> NDArray[np.float32]:
    """Return the weight of a user in each age bucket; ``half_life_days`` 0 is no decay."""
    ages = np.array(AGE_MIDPOINTS)
    decay = 0.5 ** (ages / half_life_days) if half_life_days else np.ones(AGE_BUCKETS)
    return np.where(ages <= window_days, decay, OLD).astype(np.float32)


def _choose(
    interactions: Interactions, parameters: PopularTrainingParameters, progress: Progress
) -> tuple[PopularTrainingParameters, float]:
    events, item_count = interactions.events, len(interactions.item_ids)
    start = interactions.as_of - VALIDATION_DAYS * DAY
    past = events.times < start
    seen = np.unique(events.users[past] * item_count + events.rows[past])
    new = np.setdiff1d(events.users[~past] * item_count + events.rows[~past], seen)
    new = new[np.isin(new // item_count, events.users[past]) & np.isin(new % item_count, events.rows[past])]
    if not len(new):
        raise InvalidInput(
            f"nobody known chose anything new in the last {VALIDATION_DAYS} days of the snapshot: set"
            " window_days and half_life_days instead of 'choose'"
        )
    tested = np.random.default_rng(0).permutation(np.unique(new // item_count))[:VALIDATION_USERS]
    users_by_age = _users_by_age(interactions, past, start)
    candidates = list(product(WINDOWS, HALF_LIVES))
    recalls = []
    for index, (window, half_life) in enumerate(candidates):
        progress(index / len(candidates), f"trying {window} days with half-life {half_life:g}")
        order = np.argsort(-(age_weights(window, half_life) @ users_by_age), kind="stable").astype(np.int32)
        recalls.append(np.mean([_recall(order, user, seen, new, item_count) for user in tested.tolist()]))
    best = int(np.argmax(recalls))
    window, half_life = candidates[best]
    return replace(parameters, window_days=float(window), half_life_days=half_life), float(recalls[best])


def _recall(
    order: Rows, user: int, seen: NDArray[np.int64], new: NDArray[np.int64], item_count: int
) -> float:
    """Return recall: the share of a user's new items in the head of the order without seen items."""
    had, targets = (
        pairs[slice(*np.searchsorted(pairs, (user * item_count, (user + 1) * item_count)))] % item_count
        for pairs in (seen, new)
    )
    head = order[: CUTOFF + len(had)]
    return float(np.isin(targets, head[~np.isin(head, had)][:CUTOFF]).mean())


def _users_by_age(interactions: Interactions, past: NDArray[np.bool_], as_of: int) -> NDArray[np.float32]:
    """Return the counts as of an earlier moment."""
    events, count = interactions.events, len(interactions.item_ids)
    items = ItemColumns(
        ids=interactions.item_ids,
        titles=interactions.item_ids,
        categories=[()] * count,
        prices=np.full(count, np.nan),
        available=np.ones(count, np.bool_),
        created=np.zeros(count, np.int64),
    )
    return build_view(items, events.of(past), version="validation", as_of=as_of).weighted_users_by_age()


trainer = PopularTrainer()

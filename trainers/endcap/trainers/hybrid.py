"""Hybrid: chooses the weight of each base model, a strategy whose z-scores are blended with others'.

The last 30 days of the snapshot are the validation set. The base models' own trainers, with their default
parameters, train on the events before. Each base model then scores the items, through the strategy that will
blend them, for the users who bought an item for the first time in the validation days. The weights maximise
the mean NDCG@20 of the blend by coordinate ascent: one weight after the other takes the best value of a fixed
list, until no change raises the mean.

If those days hold no such purchase, as in a young shop or in sequences without dates, the last choice of
every user is the validation set instead.

The bundle holds the weights and no base model: the base models serve with bundles of their own, trained on
the whole snapshot.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.evaluation import TuningData
from endcap.evaluation.by_time import validate_by_time
from endcap.evaluation.datasets import Log, Sequences
from endcap.evaluation.leave_one_out import validate_on_last
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import (
    Eligibility,
    Model,
    Query,
    Role,
    Scores,
    Task,
    TensorSpec,
    Vocabulary,
    parameter,
)
from endcap.sdk.errors import InvalidInput, ModelMissing
from endcap.sdk.features import DAY
from endcap.sdk.parameters import read_parameters
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import Progress, TrainedModel
from endcap.trainers.training import find_trainer, trainer_names
from endcap.trainers.unexported import UnexportedModel


VALIDATION_DAYS = 30
VALIDATION_USERS = 1000
"""At most this many users are in the validation set."""

CUTOFF = 20
BATCH_SIZE = 256
"""How many queries a base model answers in one call."""

GRID = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
"""The values that a weight may take."""

UNRANKED = np.float32(-1e6)
"""The z-score of an item that is not ranked, far below every other."""

POOL = 100
"""How many of the best items of each base model enter the NDCG of a case."""


@dataclass(frozen=True)
class HybridTrainingParameters:
    """Hyperparameters of ``hybrid``."""

    base_models: str = parameter(
        "ease matrix_factorization next_purchase item_knn popular_week popular_month",
        "Base models: the strategies to blend, separated by spaces. One that needs no bundle, such as"
        " popular_week, answers while the others have no active model, unless its weight is 0.",
    )


class HybridNetwork(nn.Module):
    """Adds up weighted z-scores."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, z_scores: Tensor) -> Tensor:
        """Blend the z-scores of all base models, ``(base models, queries, items)``."""
        return (self.weights[:, None, None] * z_scores).sum(0)  # (queries, items)


class HybridTrainer:
    """Trains the base models on the past and chooses their weights on the validation set."""

    name = "hybrid"
    parameters: type[Any] = HybridTrainingParameters

    def train(
        self, interactions: Interactions, parameters: HybridTrainingParameters, progress: Progress
    ) -> TrainedModel:
        """Choose the weights.

        A base model that cannot be trained on these data is left out; the state says why.

        Raises:
            InvalidInput: No base model is named or can be trained, one does not score, or no user chose
                enough items for a validation set.
            NotFound: No plugin offers a base model.
        """
        names = list(dict.fromkeys(parameters.base_models.split()))
        if not names:
            raise InvalidInput("no base model is named: name strategies that score", field="base_models")
        host = PluginHost.discover()
        # Building the strategy rejects a mistyped name before anything is trained.
        with suppress(ModelMissing):
            Instances(host, Generation.of([])).get("hybrid", {"weights": _equal_weights(names)})
        data = _validation(interactions)
        models, left_out = _train_base_models(names, interactions, data, progress)
        names = [name for name in names if name not in left_out]
        if not names:
            raise InvalidInput(f"no base model can be trained: {' '.join(left_out.values())}")
        z_scores, relevant = _score_validation(names, models, data, host, progress)
        progress(0.7, "choosing weights")
        weights = choose_weights(z_scores, relevant)
        progress(1.0, "done")
        blended = np.tensordot(np.array(weights, np.float32), z_scores, axes=1)

        return TrainedModel(
            module=HybridNetwork(weights).eval(),
            inputs={"z_scores": TensorSpec((len(names), "queries", "items"), "float32", Role.VALUES)},
            outputs={"scores": TensorSpec(("queries", "items"), "float32", Role.VALUES)},
            item_ids=interactions.item_ids,
            state={"weights": dict(zip(names, weights, strict=True)), "left_out": left_out},
            metrics={
                f"validation_ndcg@{CUTOFF}": ndcg(blended, relevant),
                **{
                    f"validation_ndcg@{CUTOFF}_{name}": ndcg(own, relevant)
                    for name, own in zip(names, z_scores, strict=True)
                },
            },
        )


def choose_weights(z_scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> list[float]:
    """Find weights by coordinate ascent on NDCG, from equal ones.

    Args:
        z_scores: Of the base models, ``(base models, cases, items)``; ``UNRANKED`` for items that are not
            ranked.
        relevant: Whether the item is a target of the case, ``(cases, items)``.
    """
    z_scores, relevant = _pool(z_scores, relevant)
    weights = [1.0] * len(z_scores)
    blended = z_scores.sum(axis=0)
    best, before = ndcg(blended, relevant), 0.0
    while best > before:
        before = best
        for place, own in enumerate(z_scores):
            others = blended - np.float32(weights[place]) * own
            for weight in GRID:
                tried = others + np.float32(weight) * own
                reached = ndcg(tried, relevant)
                if reached > best:
                    best, blended, weights[place] = reached, tried, weight
    return weights


def ndcg(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> float:
    """Return the mean NDCG at ``CUTOFF``.

    Args:
        scores: ``(cases, items)``.
        relevant: Whether the item is a target of the case, ``(cases, items)``; every case has a target.
    """
    depth = min(CUTOFF, scores.shape[1])
    head = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, head, 1), axis=1, kind="stable")
    found = np.take_along_axis(relevant, np.take_along_axis(head, order, 1), 1)  # (cases, depth)
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant.sum(axis=1), depth) - 1]
    return float(np.mean(found @ discounts / ideal))


def _pool(
    z_scores: NDArray[np.float32], relevant: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Keep each case's relevant items and the ``POOL`` best of every base model, padded to one length.

    An item outside every base model's ``POOL`` best hardly enters the ``CUTOFF`` best of a blend, and the
    ascent takes a tenth of the time without such items.
    """
    kept = relevant.copy()
    for own in z_scores:
        best = np.argpartition(-own, min(POOL, own.shape[1]) - 1, axis=1)[:, :POOL]
        np.put_along_axis(kept, best, values=True, axis=1)
    pool = np.argsort(~kept, axis=1, kind="stable")[:, : kept.sum(axis=1).max()]  # (cases, pool)
    return np.take_along_axis(z_scores, pool[None], 2), np.take_along_axis(relevant, pool, 1)


def _validation(interactions: Interactions) -> TuningData:
    """Hold out the first purchases of known users in the last days, or everybody's last positive.

    Raises:
        InvalidInput: The last days hold no such purchase, and no user has three positives.
    """
    kinds, counts = np.unique(interactions.events.types, return_counts=True)
    target = "purchase" if "purchase" in kinds else str(kinds[np.argmax(counts)])
    end = interactions.as_of + 1
    log = Log("validation", interactions.items, interactions.events)
    try:
        return validate_by_time(log, end - VALIDATION_DAYS * DAY, end, target_type=target)
    except InvalidInput:
        positives = interactions.positives
        by_user = np.argsort(positives.users, kind="stable")
        sequences = Ragged(positives.rows[by_user], offsets_of(np.bincount(positives.users)))
        return validate_on_last(Sequences("the snapshot", interactions.items, sequences))


def _train_base_models(
    names: Sequence[str], interactions: Interactions, data: TuningData, progress: Progress
) -> tuple[list[Model], dict[str, str]]:
    """Train base models on the past.

    Returns:
        The models, and why each base model that could not be trained is left out.
    """
    past = replace(interactions, events=data.events, as_of=data.as_of)
    models: list[Model] = []
    left_out: dict[str, str] = {}
    for number, name in enumerate(names):
        if name in trainer_names():
            progress(0.6 * number / len(names), f"training {name} on the past")
            own = find_trainer(name)
            try:
                trained = own.train(past, read_parameters(own.parameters, {}), lambda _share, _what: None)
            except InvalidInput as error:
                left_out[name] = str(error)
                progress(0.6 * number / len(names), f"{name} is left out: {error}")
                continue
            models.append(UnexportedModel(name, Vocabulary(trained.item_ids), trained))
    return models, left_out


def _score_validation(
    names: Sequence[str], models: Sequence[Model], data: TuningData, host: PluginHost, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the z-scores of every base model for the validation cases, and which items are relevant."""
    instances = Instances(host, Generation.of(models))
    view, cases = data.view(), data.groups[0]
    chosen = np.random.default_rng(0).permutation(len(cases))[:VALIDATION_USERS]
    queries = [
        Query(
            task=Task.FOR_YOU,
            limit=CUTOFF,
            time=data.as_of,
            eligible=Eligibility(cases.eligible),
            history=cases.histories[case],
        )
        for case in chosen.tolist()
    ]
    ranked = np.tile(cases.eligible, (len(queries), 1))
    relevant = np.zeros_like(ranked)
    for eligible, targets, query, case in zip(ranked, relevant, queries, chosen.tolist(), strict=True):
        eligible[query.history.rows[np.isin(query.history.types, list(data.seen_types))]] = False
        targets[cases.targets[case]] = True
    z_scores = np.empty((len(names), *ranked.shape), np.float32)
    for number, name in enumerate(names):
        progress(0.6 + 0.1 * number / len(names), f"asking {name}")
        # Alone and with weight 1, a base model's blend is its z-score.
        alone = instances.get("hybrid", {"weights": _equal_weights([name])})
        for batch in _batches(len(queries)):
            scores: Scores = alone.score(queries[batch], None, view)  # type: ignore[attr-defined]
            z_scores[number, batch] = np.where(ranked[batch], np.nan_to_num(scores), UNRANKED)
    return z_scores, relevant


def _equal_weights(names: Sequence[str]) -> str:
    return " ".join(f"{name}=1" for name in names)


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH_SIZE) for start in range(0, count, BATCH_SIZE))


trainer = HybridTrainer()

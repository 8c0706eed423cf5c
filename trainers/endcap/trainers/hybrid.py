"""Hybrid: finds out how much each of several strategies should count.

The last 30 days of the snapshot are set aside. The sources' own trainers, with their default parameters,
learn from what came before, and each source is asked, through the strategy that will blend them, how it
scores the items for the users who then bought something for the first time. The weights maximise the mean
NDCG@20 of the blend by coordinate ascent: one weight after the other takes the best value of a fixed list,
until that changes nothing.

Where that is nothing, as in a young shop or in sequences without dates, the last choice of every user is set
aside instead.

The bundle holds the weights and no source: the sources serve with bundles of their own, trained on the whole
snapshot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.evaluation import EvaluationData, Setting
from endcap.evaluation.datasets import Log, Sequences
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.evaluation.splits import by_time, leave_one_out
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Eligibility, Model, Query, Scores, Task, Tensors, Vocabulary, parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.parameters import read_parameters
from endcap.trainers.export import run_module
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import Inputs, Progress, TrainedModel
from endcap.trainers.training import find_trainer, trainer_names


VALIDATION_DAYS = 30
VALIDATION_USERS = 1000
"""How many users at most the choice rests on."""

CUTOFF = 20
BATCH_SIZE = 256
"""How many queries a source is asked at once."""

GRID = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
"""The values that a weight may take."""

UNRANKED = np.float32(-1e6)
"""The standard score of what is not ranked, far below every other."""

POOL = 100
"""How many items of each source a case is judged on."""


@dataclass(frozen=True)
class HybridTrainingParameters:
    """Hyperparameters of ``hybrid``."""

    sources: str = parameter(
        "ease matrix_factorization next_purchase item_knn popular_week popular_month",
        "The strategies to blend, between them spaces. At least one must need no model, such as popular_week:"
        " it answers while the others have none.",
    )


class HybridNetwork(nn.Module):
    """Adds up standard scores."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, standard: Tensor) -> Tensor:
        """Blend the standard scores of all sources, ``(sources, queries, items)``."""
        return (self.weights[:, None, None] * standard).sum(0)  # (queries, items)


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A model that was trained a moment ago, run by PyTorch: for an answer or two it needs no export."""

    name: str
    vocabulary: Vocabulary
    trained: TrainedModel
    version: str = "validation"

    @property
    def state(self) -> Mapping[str, Any]:
        """The state that the trainer recorded."""
        return self.trained.state

    def run(self, inputs: Tensors) -> Tensors:
        """Run the module."""
        return {self.trained.output: run_module(self.trained, dict(inputs))}


class HybridTrainer:
    """Trains the sources on the past and weighs them on what followed."""

    name = "hybrid"
    parameters: type[Any] = HybridTrainingParameters

    def train(
        self, interactions: Interactions, parameters: HybridTrainingParameters, progress: Progress
    ) -> TrainedModel:
        """Choose the weights.

        Raises:
            InvalidInput: Every source needs a model, one does not score or cannot be trained on the past, or
                no user chose enough to set something aside.
            NotFound: No plugin offers a source.
        """
        names = list(dict.fromkeys(parameters.sources.split()))
        always = [name for name in names if name not in trainer_names()]
        if not always:
            raise InvalidInput(
                "every source needs a model: add one that needs none, such as popular_week", field="sources"
            )
        host = PluginHost.discover()
        # A name that is mistyped is told before anything is trained.
        Instances(host, Generation.of([])).get("hybrid", {"weights": _equal_weights(always)})
        data = _validation(interactions)
        standard, wanted = _ask_sources(names, interactions, data, host, progress)
        progress(0.7, "choosing weights")
        # What needs no model keeps a weight, so that the bundle alone answers its golden queries.
        lowest = {name: GRID[1] if name in always else GRID[0] for name in names}
        weights = choose_weights(standard, wanted, [lowest[name] for name in names])
        progress(1.0, "done")
        blended = np.tensordot(np.array(weights, np.float32), standard, axes=1)

        def sample_inputs(generator: np.random.Generator, length: int) -> Inputs:
            shape = (len(names), length, length + 1)
            return {"standard": generator.standard_normal(shape, np.float32)}

        return TrainedModel(
            module=HybridNetwork(weights).eval(),
            axes={"standard": (None, "queries", "items")},
            sample_inputs=sample_inputs,
            item_ids=interactions.item_ids,
            state={"weights": dict(zip(names, weights, strict=True))},
            metrics={
                f"validation_ndcg@{CUTOFF}": ndcg(blended, wanted),
                **{
                    f"validation_ndcg@{CUTOFF}_{name}": ndcg(own, wanted)
                    for name, own in zip(names, standard, strict=True)
                },
            },
        )


def choose_weights(
    standard: NDArray[np.float32], wanted: NDArray[np.bool_], lowest: Sequence[float]
) -> list[float]:
    """Find weights by coordinate ascent on NDCG, from equal ones.

    Args:
        standard: The sources' scores, ``(sources, cases, items)``; ``UNRANKED`` for items that are not
            ranked.
        wanted: The items that would be right, ``(cases, items)``.
        lowest: The least weight of each source.
    """
    standard, wanted = _pool(standard, wanted)
    weights = [1.0] * len(standard)
    blended = standard.sum(axis=0)
    best, before = ndcg(blended, wanted), 0.0
    while best > before:
        before = best
        for source, own in enumerate(standard):
            others = blended - np.float32(weights[source]) * own
            for weight in GRID:
                tried = others + np.float32(weight) * own
                reached = ndcg(tried, wanted) if weight >= lowest[source] else 0.0
                if reached > best:
                    best, blended, weights[source] = reached, tried, weight
    return weights


def ndcg(scores: NDArray[np.float32], wanted: NDArray[np.bool_]) -> float:
    """Return the mean NDCG at ``CUTOFF``.

    Args:
        scores: ``(cases, items)``.
        wanted: The items that would be right, ``(cases, items)``, some in every case.
    """
    depth = min(CUTOFF, scores.shape[1])
    head = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, head, 1), axis=1, kind="stable")
    found = np.take_along_axis(wanted, np.take_along_axis(head, order, 1), 1)  # (cases, depth)
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = np.cumsum(discounts)[np.minimum(wanted.sum(axis=1), depth) - 1]
    return float(np.mean(found @ discounts / ideal))


def _pool(
    standard: NDArray[np.float32], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Keep of each case's items those that are wanted or among the best of a source, and some more.

    What no source puts in its ``POOL`` best hardly comes into the ``CUTOFF`` best of a blend, and the ascent
    takes a tenth of the time without it.
    """
    kept = wanted.copy()
    for own in standard:
        best = np.argpartition(-own, min(POOL, own.shape[1]) - 1, axis=1)[:, :POOL]
        np.put_along_axis(kept, best, values=True, axis=1)
    pool = np.argsort(~kept, axis=1, kind="stable")[:, : kept.sum(axis=1).max()]  # (cases, pool)
    return np.take_along_axis(standard, pool[None], 2), np.take_along_axis(wanted, pool, 1)


def _validation(interactions: Interactions) -> EvaluationData:
    """Set aside what users known by then bought for the first time in the last days, or their last positives.

    Raises:
        InvalidInput: There is neither.
    """
    kinds, counts = np.unique(interactions.events.types, return_counts=True)
    target = "purchase" if "purchase" in kinds else str(kinds[np.argmax(counts)])
    end = interactions.as_of + 1
    log = Log("validation", interactions.items, interactions.events)
    try:
        return by_time(log, end - VALIDATION_DAYS * DAY, end, target_type=target)
    except InvalidInput:
        positives = interactions.positives
        by_user = np.argsort(positives.users, kind="stable")
        sequences = Ragged(positives.rows[by_user], offsets_of(np.bincount(positives.users)))
        return leave_one_out(Sequences("the snapshot", interactions.items, sequences), Setting.REFIT)


def _ask_sources(
    names: Sequence[str],
    interactions: Interactions,
    data: EvaluationData,
    host: PluginHost,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return every source's standard scores of the validation cases, and which items would be right."""
    past = replace(interactions, events=data.events, as_of=data.as_of)
    models: list[Model] = []
    for number, name in enumerate(names):
        if name in trainer_names():
            progress(0.6 * number / len(names), f"training {name} on the past")
            source = find_trainer(name)
            trained = source.train(past, read_parameters(source.parameters, {}), lambda _share, _what: None)
            models.append(FittedModel(name, Vocabulary(trained.item_ids), trained))
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
    wanted = np.zeros_like(ranked)
    for own, right, query, case in zip(ranked, wanted, queries, chosen.tolist(), strict=True):
        own[query.history.rows[np.isin(query.history.types, list(data.seen_types))]] = False
        right[cases.targets[case]] = True
    standard = np.empty((len(names), *ranked.shape), np.float32)
    for number, name in enumerate(names):
        progress(0.6 + 0.1 * number / len(names), f"asking {name}")
        # Alone and with weight 1, the blend is the source's standard score.
        alone = instances.get("hybrid", {"weights": _equal_weights([name])})
        for batch in _batches(len(queries)):
            scores: Scores = alone.score(queries[batch], None, view)  # type: ignore[attr-defined]
            standard[number, batch] = np.where(ranked[batch], np.nan_to_num(scores), UNRANKED)
    return standard, wanted


def _equal_weights(names: Sequence[str]) -> str:
    return " ".join(f"{name}=1" for name in names)


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH_SIZE) for start in range(0, count, BATCH_SIZE))


trainer = HybridTrainer()

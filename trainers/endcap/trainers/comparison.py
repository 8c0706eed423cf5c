"""Compares strategies on one data set: trains each, loads it as the server does, and evaluates it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from endcap.evaluation import EvaluationData, Report, evaluate
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.trainers.training import Training, train_bundle, trainer_names


Stage: TypeAlias = Callable[[str, float, str], None]
"""Called with the strategy, the share done of what it is at, and what that is."""


def compare(
    data: EvaluationData,
    strategies: Sequence[str],
    *,
    host: PluginHost,
    stage: Stage,
    values: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Report]:
    """Evaluate strategies one after the other, all on the same cases.

    Every model trained is at hand for every strategy, so that one that composes others works when they
    are named too.

    Args:
        data: What they are fitted and judged on.
        strategies: Their names; one without a trainer runs as it is.
        host: Where they come from.
        stage: Told what is going on.
        values: By strategy, the parameters of its trainer, or its own when it has none.

    Raises:
        NotFound: No plugin offers a strategy.
        InvalidInput: A parameter is wrong, or a strategy does not recommend for users.
    """
    values = values or {}
    for name in strategies:
        host.registration(name)
    with tempfile.TemporaryDirectory() as folder:
        snapshot = data.snapshot(Path(folder) / "snapshot")
        trainings: dict[str, Training] = {}
        for name in filter(trainer_names().__contains__, strategies):
            trainings[name] = train_bundle(
                name,
                snapshot,
                Path(folder) / "bundles",
                host=host,
                created_time=data.as_of,
                progress=partial(stage, name),
                values=values.get(name),
            )
        models = [load_bundle(training.bundle, host) for training in trainings.values()]
    instances = Instances(host, Generation.of(models))
    view = data.view()
    reports = []
    for name in strategies:
        own = None if name in trainings else values.get(name)
        report = evaluate(
            instances.get(name, own), view, data, name=name, progress=_counted(stage, name, "evaluating")
        )
        if name in trainings:
            training = trainings[name]
            report = replace(
                report,
                training_seconds=training.seconds,
                peak_memory_mebibytes=training.peak_memory_mebibytes,
            )
        reports.append(report)
    return reports


def _counted(stage: Stage, name: str, what: str) -> Callable[[int, int], None]:
    return lambda done, total: stage(name, done / max(total, 1), what)

"""Compares strategies on one data set: trains each, loads it as the server does, and evaluates it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from endcap.evaluation import HeldOut, Report, evaluate
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.trainers.training import Training, train_bundle, trainer_names


Stage: TypeAlias = Callable[[str, float, str], None]
"""A callback that gets the strategy, the share done of its current step, and the name of the step."""


def compare(
    data: HeldOut,
    strategies: Sequence[str],
    *,
    host: PluginHost,
    stage: Stage,
    values: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Report]:
    """Evaluate strategies one after the other, all on the same cases.

    Each strategy may use every model trained here, so a strategy that composes others works if they are
    named too.

    Args:
        data: The training events and the test cases.
        strategies: Their names; one without a trainer runs as it is.
        host: Holds the plugins that offer the strategies.
        stage: Called with the progress.
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

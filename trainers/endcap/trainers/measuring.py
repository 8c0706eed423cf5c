"""Measures new models beside those that they would replace, on the newest days of one snapshot.

The bundle that serves has seen most of these days: evaluating it on them would measure memorisation.
So the hyperparameters are measured: the model that a bundle's parameters give when it is trained on the
events before these days. A bundle and its candidate with equal hyperparameters have equal figures, and the
candidate differs by newer events alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from endcap.evaluation import EvaluationData
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.bundle import BundleManifest
from endcap.sdk.parameters import read_parameters
from endcap.trainers.comparison import Stage, compare
from endcap.trainers.training import find_trainer


METRICS = ("recall@20", "ndcg@20", "hit@20")
"""The metrics that a bundle's manifest holds."""

BASELINE = "popular"
"""The unpersonalised strategy; no other should measure worse."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The metrics that a bundle records for one strategy."""

    metrics: Mapping[str, float]

    compared: Mapping[str, Mapping[str, float]]
    """The same metrics of ``BASELINE`` and, by ``MODEL@VERSION``, of the bundle that serves."""


def measure(
    data: EvaluationData,
    strategies: Sequence[str],
    serving: Sequence[BundleManifest],
    *,
    host: PluginHost,
    stage: Stage,
    values: Mapping[str, Mapping[str, Any]],
) -> dict[str, Measured]:
    """Measure strategies, the baseline, and the hyperparameters of bundles.

    Args:
        data: The training events and the test cases.
        strategies: Their names; each has a trainer.
        serving: Bundles of some of them.
        host: Holds the plugins that offer the strategies.
        stage: Called with the progress.
        values: By strategy, parameters of its trainer.

    Raises:
        InvalidInput: A parameter is wrong, or a strategy does not recommend for users.
    """

    def figures(names: Iterable[str], chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        reports = compare(data, list(names), host=host, stage=stage, values=chosen)
        return {
            report.strategy: {metric: report.slices["all"].metrics[metric].value for metric in METRICS}
            for report in reports
        }

    measured = figures(strategies, values)
    # The baseline is measured apart, for a strategy that composes others would use its model.
    baseline = measured[BASELINE] if BASELINE in measured else figures([BASELINE], {})[BASELINE]
    hyperparameters = {bundle.model: bundle.parameters for bundle in serving}
    changed = any(
        read_hyperparameters(model, parameters) != read_hyperparameters(model, values.get(model, {}))
        for model, parameters in hyperparameters.items()
    )
    served = figures(hyperparameters, hyperparameters) if changed else measured
    named = {bundle.model: f"{bundle.model}@{bundle.version}" for bundle in serving}
    return {
        name: Measured(metrics, {BASELINE: baseline} | ({named[name]: served[name]} if name in named else {}))
        for name, metrics in measured.items()
    }


def read_hyperparameters(strategy: str, values: Mapping[str, Any]) -> Any:
    """Return all parameters of a strategy's trainer.

    Raises:
        NotFound: No trainer has the strategy's name.
        InvalidInput: A parameter is unknown to the trainer, or its value is out of range.
    """
    return read_parameters(find_trainer(strategy).parameters, values)

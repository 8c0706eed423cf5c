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
"""The strategy that knows nothing about a user; no other should measure worse."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The metrics that a bundle records for one strategy."""

    metrics: Mapping[str, float]

    compared: Mapping[str, Mapping[str, float]]
    """The same of others: of ``BASELINE``, and by ``MODEL@VERSION`` of the bundle that serves."""


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
        data: What they are fitted and judged on.
        strategies: Their names; each has a trainer.
        serving: Bundles of some of them.
        host: Where they come from.
        stage: Told what is going on.
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
    # Apart from the others, for one that composes strategies would make use of it.
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
        NotFound: Nothing trains it.
        InvalidInput: The trainer does not know a parameter, or not this value of it.
    """
    return read_parameters(find_trainer(strategy).parameters, values)

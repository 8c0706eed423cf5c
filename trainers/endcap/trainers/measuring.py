"""Measures what is to be trained beside what it would replace, all on the newest days of one snapshot.

A bundle that serves has seen most of these days, and its answers about them would be recitals. What is
measured is therefore the recipe: the model that a bundle's parameters give when they are fitted on what came
before the days. Where a bundle and its candidate have the same recipe, they have the same figure, and the
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
"""What a bundle says about itself."""

FLOOR = "popular"
"""The strategy that needs to know nothing about a user, and that no other should fall behind."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle is to say of one strategy."""

    metrics: Mapping[str, float]

    compared: Mapping[str, Mapping[str, float]]
    """The same of others: of ``FLOOR``, and by ``MODEL@VERSION`` of the bundle that serves."""


def measure(
    data: EvaluationData,
    strategies: Sequence[str],
    serving: Sequence[BundleManifest],
    *,
    host: PluginHost,
    stage: Stage,
    values: Mapping[str, Mapping[str, Any]],
) -> dict[str, Measured]:
    """Measure strategies, the floor, and the recipes of bundles.

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
    floor = measured[FLOOR] if FLOOR in measured else figures([FLOOR], {})[FLOOR]
    recipes = {bundle.model: bundle.parameters for bundle in serving}
    changed = any(
        read_recipe(model, recipe) != read_recipe(model, values.get(model, {}))
        for model, recipe in recipes.items()
    )
    served = figures(recipes, recipes) if changed else measured
    named = {bundle.model: f"{bundle.model}@{bundle.version}" for bundle in serving}
    return {
        name: Measured(metrics, {FLOOR: floor} | ({named[name]: served[name]} if name in named else {}))
        for name, metrics in measured.items()
    }


def read_recipe(strategy: str, values: Mapping[str, Any]) -> Any:
    """Return all parameters of a strategy's trainer.

    Raises:
        NotFound: Nothing trains it.
        InvalidInput: The trainer does not know a parameter, or not this value of it.
    """
    return read_parameters(find_trainer(strategy).parameters, values)

"""Runs one trainer on one snapshot: parameters in, bundle out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from endcap.runtime.golden import choose_titles
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.sdk.parameters import read_parameters
from endcap.sdk.snapshot import Snapshot
from endcap.trainers.export import export_bundle
from endcap.trainers.interactions import Interactions
from endcap.trainers.memory import peak_memory
from endcap.trainers.trainer import Progress, Trainer


GROUP = "endcap.trainers"
"""The entry-point group of trainers; an entry point's name is the strategy's."""


@dataclass(frozen=True, slots=True)
class Training:
    """The result of a training."""

    bundle: Path
    """The bundle's folder."""

    seconds: float
    """Duration of training and export."""

    peak_memory_mebibytes: float | None
    """The process's peak meanwhile; None where the system does not tell."""


def trainer_names() -> frozenset[str]:
    """Return the strategies that have a trainer."""
    return frozenset(_entry_points())


def find_trainer(name: str) -> Trainer:
    """Load the trainer of a strategy.

    Raises:
        NotFound: No trainer has this name.
        InvalidInput: The trainer cannot be imported.
    """
    found = _entry_points()
    if name not in found:
        raise NotFound(f"nothing trains {name!r}; trainers exist for {', '.join(sorted(found))}")
    try:
        trainer: Trainer = found[name].load()
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"the trainer of {name} cannot be imported: {error}") from error
    return trainer


def train_bundle(
    name: str,
    snapshot: Snapshot,
    parent: Path,
    *,
    host: PluginHost,
    created_time: int,
    progress: Progress,
    values: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    compared: Mapping[str, Mapping[str, float]] | None = None,
) -> Training:
    """Train a strategy's model and write its bundle to ``parent/name/version``.

    Args:
        name: The strategy.
        snapshot: The training data.
        parent: The folder of all bundles.
        host: Holds the plugin that offers the strategy.
        created_time: Unix milliseconds.
        progress: Called with the share done.
        values: Parameters of the trainer by name; the others keep their defaults.
        metrics: Results of the evaluation, for the manifest.
        compared: Results of other models on the same days, by name, for the manifest.

    Raises:
        NotFound: No trainer has this name.
        InvalidInput: The parameters are wrong, or do not suit the snapshot.
        BundleRefused: The outputs of the exported graph differ from PyTorch's.
    """
    trainer = find_trainer(name)
    parameters = read_parameters(trainer.parameters, values or {})
    started = time.perf_counter()
    with peak_memory() as peak:
        interactions = Interactions.of_snapshot(snapshot)
        trained = trainer.train(interactions, parameters, progress)
        progress(1.0, "exporting")
        bundle = export_bundle(
            trained,
            parent,
            name=name,
            parameters=parameters,
            snapshot=snapshot.manifest.fingerprint,
            created_time=created_time,
            titles=choose_titles(interactions.items),
            metrics=metrics or {},
            compared=compared or {},
            host=host,
        )
        return Training(bundle, time.perf_counter() - started, peak())


def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}

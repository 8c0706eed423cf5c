"""From a trained module to a bundle: ONNX, the parity gate, golden queries.

The parity gate runs fresh random inputs of several shapes through PyTorch and through the session that
serves, and refuses the graph unless both give the same numbers.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Vocabulary
from endcap.sdk.bundle import MAX_BYTES, WEIGHTS, write_bundle
from endcap.sdk.errors import BundleRefused, EndcapError, InvalidInput
from endcap.trainers.trainer import Inputs, TrainedModel
from endcap.trainers.weights import move_weights


RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-6
"""Largest difference between the two outputs: sums in another order differ by rounding."""

LENGTHS = (1, 2, 7, 40)
"""The lengths of the free dimensions that the gate tries."""


def to_onnx(trained: TrainedModel, weights_folder: Path) -> bytes:
    """Return the module as an ONNX graph.

    Args:
        trained: The model to export.
        weights_folder: Where the large weights are written, as ``WEIGHTS``.

    Raises:
        InvalidInput: The weights are larger than a bundle may hold.
    """
    tensors = trained.module.state_dict().values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > MAX_BYTES[WEIGHTS]:
        raise InvalidInput(
            f"the model has {size / 2**30:.1f} GiB of weights, and a bundle holds at most"
            f" {MAX_BYTES[WEIGHTS] / 2**30:.0f}: train a smaller one"
        )
    example = _tensors(trained.sample_inputs(np.random.default_rng(0), 3))
    shapes = {
        name: {place: torch.export.Dim(axis) for place, axis in enumerate(axes) if axis is not None}
        for name, axes in trained.axes.items()
    }
    with _quiet_exporter():
        program = torch.onnx.export(
            trained.module,
            kwargs=example,
            dynamo=True,
            external_data=False,
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=[trained.output],
            verbose=False,
        )
    if program is None:
        raise EndcapError("PyTorch's exporter returned nothing: install the release that Endcap names")
    model = program.model_proto
    move_weights(model, weights_folder)
    content: bytes = model.SerializeToString()
    return content


def check_parity(trained: TrainedModel, model: OnnxModel, *, seed: int = 0) -> None:
    """Refuse a graph whose outputs differ from the module's.

    Raises:
        BundleRefused: The outputs differ by more than rounding, or in shape.
    """
    generator = np.random.default_rng(seed)
    for length in LENGTHS:
        inputs = trained.sample_inputs(generator, length)
        expected = run_module(trained, inputs)
        actual = model.run(inputs)[trained.output]
        if actual.shape != expected.shape:
            raise BundleRefused(
                f"the exported {model.name} gives {trained.output} of shape {actual.shape} where PyTorch"
                f" gives {expected.shape}: do not use it, and report how it was trained"
            )
        if not np.allclose(actual, expected, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE, equal_nan=True):
            difference = float(np.nanmax(np.abs(actual - expected)))
            raise BundleRefused(
                f"the exported {model.name} differs from PyTorch by up to {difference:.2g}: do not use it,"
                " and report how it was trained"
            )


def run_module(trained: TrainedModel, inputs: Inputs) -> NDArray[np.float32]:
    """Return the output of the module in PyTorch."""
    with torch.inference_mode():
        output: NDArray[np.float32] = trained.module(**_tensors(inputs)).numpy()
    return output


def export_bundle(
    trained: TrainedModel,
    parent: Path,
    *,
    name: str,
    parameters: Any,
    snapshot: str,
    created_time: int,
    metrics: Mapping[str, float],
    compared: Mapping[str, Mapping[str, float]],
    host: PluginHost,
) -> Path:
    """Write a bundle to ``parent/name/version`` once it has passed the parity gate.

    Args:
        trained: The model to export.
        parent: The folder of all bundles.
        name: The name of the model and of its strategy.
        parameters: The trainer's parameters.
        snapshot: The fingerprint of the snapshot.
        created_time: Unix milliseconds.
        metrics: Results of the evaluation; they join those of the training.
        compared: Results of other models on the same days, by name.
        host: Holds the plugin of the strategy, whose answers become the golden queries.

    Raises:
        BundleRefused: The outputs of the graph differ from PyTorch's.
        InvalidInput: The weights are larger than a bundle may hold.
    """
    vocabulary = Vocabulary(trained.item_ids)
    parent.mkdir(parents=True, exist_ok=True)
    # On the disk of the bundles, so that the weights are moved there, not copied.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=parent) as folder:
        weights_folder = Path(folder)
        onnx = to_onnx(trained, weights_folder)
        model = OnnxModel(
            onnx,
            name=name,
            version="candidate",
            vocabulary=vocabulary,
            state=trained.state,
            weights_folder=weights_folder,
        )
        check_parity(trained, model)
        strategy = Instances(host, Generation.of([model])).get(name)
        return write_bundle(
            parent,
            model=name,
            onnx=onnx,
            item_ids=trained.item_ids,
            created_time=created_time,
            snapshot=snapshot,
            parameters=asdict(parameters),
            state=trained.state,
            metrics={**trained.metrics, **metrics},
            golden_queries=make_golden_queries(strategy, vocabulary),
            compared=compared,
            weights_folder=weights_folder,
        )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide the exporter's warnings about its own future and about packages that no graph here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs.items()}

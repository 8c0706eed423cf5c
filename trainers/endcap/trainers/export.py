"""From a trained module to a bundle: ONNX, the parity gate, golden queries."""

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

from endcap.runtime.golden import make_golden_queries
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.runtime.stand_ins import build_alone
from endcap.sdk import Vocabulary
from endcap.sdk.bundle import MAX_BYTES, WEIGHTS, write_bundle
from endcap.sdk.errors import EndcapError, InvalidInput
from endcap.trainers.parity import check_parity, draw_inputs, free_axes
from endcap.trainers.trainer import TrainedModel
from endcap.trainers.weights import move_weights


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
    axes = free_axes(trained.inputs)
    # Lengths of 2 and more that all differ, for the exporter takes equal lengths and 1 for fixed.
    lengths = {axis: 3 + 2 * place for place, axis in enumerate(axes)}
    example = draw_inputs(trained.inputs, lengths, len(trained.item_ids), np.random.default_rng(0))
    free = {axis: torch.export.Dim(axis) for axis in axes}
    shapes = {
        name: {place: free[axis] for place, axis in enumerate(spec.axes) if isinstance(axis, str)}
        for name, spec in trained.inputs.items()
    }
    with _quiet_exporter():
        program = torch.onnx.export(
            trained.module,
            kwargs={name: torch.from_numpy(array) for name, array in example.items()},
            dynamo=True,
            external_data=False,
            dynamic_shapes=shapes,
            input_names=list(trained.inputs),
            output_names=list(trained.outputs),
            verbose=False,
        )
    if program is None:
        raise EndcapError("PyTorch's exporter returned nothing: install the release that Endcap names")
    model = program.model_proto
    move_weights(model, weights_folder)
    content: bytes = model.SerializeToString()
    return content


def export_bundle(
    trained: TrainedModel,
    parent: Path,
    *,
    name: str,
    parameters: Any,
    snapshot: str,
    created_time: int,
    titles: Mapping[str, str],
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
        titles: Titles of some items, by id, for the golden queries.
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
            inputs=trained.inputs,
            outputs=trained.outputs,
            state=trained.state,
            weights_folder=weights_folder,
        )
        check_parity(trained, model)
        golden_queries = make_golden_queries(build_alone(model, host), vocabulary, titles)
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
            inputs=trained.inputs,
            outputs=trained.outputs,
            golden_queries=golden_queries,
            golden_titles=titles,
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

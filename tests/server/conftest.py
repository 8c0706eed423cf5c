"""Bundles that are made in a moment: a random matrix, asked its golden queries like a trained one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Vocabulary
from endcap.sdk.bundle import write_bundle


def _graph(model: str, size: int, seed: int) -> bytes:
    """Add up the rows of a matrix of similarities, weighted: what ``ease`` and ``item_knn`` expect."""
    similarities = np.random.default_rng(seed).random((size, size), np.float32)
    inputs = [
        helper.make_tensor_value_info("rows", TensorProto.INT64, ["items"]),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["profiles", "items"]),
    ]
    if model == "item_knn":
        inputs.append(helper.make_tensor_value_info("directional", TensorProto.BOOL, ["profiles"]))
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["similarities", "rows"], ["chosen"]),
            helper.make_node("MatMul", ["weights", "chosen"], ["scores"]),
        ],
        model,
        inputs,
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["profiles", size])],
        [numpy_helper.from_array(similarities, "similarities")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = proto.SerializeToString()
    return content


def _write(
    parent: Path,
    item_ids: Sequence[str],
    *,
    seed: int = 0,
    model: str = "ease",
    recall: float | None = 0.1,
) -> Path:
    onnx, vocabulary, state = _graph(model, len(item_ids), seed), Vocabulary(item_ids), {"mode": "basket"}
    loaded = OnnxModel(onnx, name=model, version="candidate", vocabulary=vocabulary, state=state)
    strategy = Instances(PluginHost.discover(), Generation.of([loaded])).get(model)
    return write_bundle(
        parent,
        model=model,
        onnx=onnx,
        item_ids=item_ids,
        created_time=1_700_000_000_000 + seed,
        snapshot="0123456789abcdef",
        parameters={},
        state=state,
        metrics={} if recall is None else {"recall@20": recall},
        golden_queries=make_golden_queries(strategy, vocabulary),
    )


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Path]:
    """Write a bundle to ``parent/model/version``; a higher ``seed`` makes a newer one with other weights."""
    return _write

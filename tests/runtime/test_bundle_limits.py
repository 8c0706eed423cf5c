"""What a graph may not do, however well its checksums hold: each is found before the bundle serves."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Role, TensorSpec, Vocabulary
from endcap.sdk.bundle import write_bundle
from endcap.sdk.errors import BundleRefused
from endcap.sdk.features import AGE_BUCKETS


HOST = PluginHost.discover()
ITEM_IDS = [f"item-{number}" for number in range(40)]
WEIGHTS = np.linspace(1, 0, AGE_BUCKETS, dtype=np.float32)


INPUTS = {"users_by_age": TensorSpec((AGE_BUCKETS, "items"), "float32", Role.VALUES)}
OUTPUTS = {"scores": TensorSpec(("items",), "float32", Role.VALUES)}


def graph(
    nodes: Sequence[NodeProto] = (),
    *,
    constants: Mapping[str, NDArray[np.generic]] | None = None,
    inputs: Sequence[str] = ("users_by_age",),
    output: str = "scores",
) -> bytes:
    """The graph of ``popular``, after other nodes."""
    own = helper.make_node("MatMul", ["weights", inputs[0]], [output])
    proto = helper.make_graph(
        [*nodes, own],
        "popular",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [AGE_BUCKETS, "items"]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["items"])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {"weights": WEIGHTS, **(constants or {})}.items()
        ],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def write(folder: Path, onnx: bytes) -> Path:
    """Write a bundle with the golden queries of the right graph around another one."""
    vocabulary = Vocabulary(ITEM_IDS)
    right = OnnxModel(
        graph(), name="popular", version="right", vocabulary=vocabulary, inputs=INPUTS, outputs=OUTPUTS
    )
    golden = make_golden_queries(Instances(HOST, Generation.of([right])).get("popular"), vocabulary)
    return write_bundle(
        folder,
        model="popular",
        onnx=onnx,
        item_ids=ITEM_IDS,
        created_time=1_700_000_000_000,
        snapshot="0123456789abcdef",
        parameters={},
        state={},
        metrics={},
        inputs=INPUTS,
        outputs=OUTPUTS,
        golden_queries=golden,
    )


def test_the_right_graph_is_loaded(tmp_path: Path) -> None:
    load_bundle(write(tmp_path, graph()), HOST)


@pytest.mark.parametrize(
    ("onnx", "message"),
    [
        (graph(inputs=["users"]), "has the inputs users, and its manifest declares users_by_age"),
        (graph(inputs=["users_by_age", "more"]), "has the inputs more, users_by_age, and its manifest"),
        (graph(output="points"), "has the outputs points, and its manifest declares scores"),
    ],
    ids=["input-renamed", "input-too-many", "output-renamed"],
)
def test_inputs_and_outputs_that_are_not_the_strategy_s_are_found(
    onnx: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleRefused, match=message):
        load_bundle(write(tmp_path, onnx), HOST)


def endless() -> bytes:
    """The right graph, once a loop that never ends has ended."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_again"]),
            helper.make_node("Identity", ["value"], ["same"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on_again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["", "true", "users_by_age"], ["weights_again"], body=body)
    return graph([loop], constants={"true": np.array(True)})


def test_a_graph_that_never_ends_is_ended_and_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match=r"ran longer than 0\.2 seconds"):
        load_bundle(write(tmp_path, endless()), HOST, run_seconds=0.2)


def greedy() -> bytes:
    """The right graph, beside one gibibyte of zeros that no optimiser foresees."""
    nodes = [
        helper.make_node("Shape", ["users_by_age"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["size"], keepdims=1),
        helper.make_node("Mul", ["size", "many"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["users_by_age", "nothing"], ["unused"]),
    ]
    return graph(nodes, constants={"many": np.array([2**28 // (AGE_BUCKETS * len(ITEM_IDS))])})


def test_a_graph_that_asks_for_more_memory_than_half_is_refused(tmp_path: Path) -> None:
    bundle = write(tmp_path, greedy())
    script = dedent(
        """
        import resource, sys
        from pathlib import Path
        from endcap.runtime import memory
        from endcap.runtime.loading import load_bundle
        from endcap.runtime.plugin_host import PluginHost
        from endcap.sdk.errors import BundleRefused

        memory.memory = lambda: 2**28
        try:
            load_bundle(Path(sys.argv[1]), PluginHost.discover())
        except BundleRefused:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        """
    )

    printed = subprocess.run(
        [sys.executable, "-c", script, str(bundle)], check=True, capture_output=True, text=True
    ).stdout

    assert 0 < int(printed) < 1000  # mebibytes; the zeros alone would be 1,024

"""A thousand flipped bits, one at a time: no bundle that differs from what was written is loaded."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Role, TensorSpec, Vocabulary
from endcap.sdk.bundle import MODEL, WEIGHTS, Bundle, write_bundle
from endcap.sdk.errors import BundleRefused
from endcap.sdk.features import AGE_BUCKETS


FLIPS = 1_000
FILES = ("manifest.json", "model.onnx", "model.onnx.data", "vocabulary.json")
HOST = PluginHost.discover()
INPUTS = {"users_by_age": TensorSpec((AGE_BUCKETS, "items"), "float32", Role.VALUES)}
OUTPUTS = {"scores": TensorSpec(("items",), "float32", Role.VALUES)}


def load(content: bytes, vocabulary: Vocabulary, weights_folder: Path) -> OnnxModel:
    return OnnxModel(
        content,
        name="popular",
        version="1",
        vocabulary=vocabulary,
        inputs=INPUTS,
        outputs=OUTPUTS,
        weights_folder=weights_folder,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of ``popular``, whose weights lie beside the graph: 11 numbers, 352 bits."""
    weights = numpy_helper.from_array(np.linspace(1, 0, AGE_BUCKETS, dtype=np.float32), "weights")
    (tmp_path / WEIGHTS).write_bytes(weights.raw_data)
    set_external_data(weights, WEIGHTS, 0, len(weights.raw_data))
    weights.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["weights", "users_by_age"], ["scores"])],
        "popular",
        [helper.make_tensor_value_info("users_by_age", TensorProto.FLOAT, [AGE_BUCKETS, "items"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["items"])],
        [weights],
    )
    onnx = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    item_ids = [f"item-{number}" for number in range(40)]
    model = load(onnx, Vocabulary(item_ids), tmp_path)
    strategy = Instances(HOST, Generation.of([model])).get("popular")
    return write_bundle(
        tmp_path,
        model="popular",
        onnx=onnx,
        item_ids=item_ids,
        created_time=1_700_000_000_000,
        snapshot="0123456789abcdef",
        parameters={"window_days": 30.0},
        state={},
        metrics={"recall@20": 0.1},
        inputs=INPUTS,
        outputs=OUTPUTS,
        golden_queries=make_golden_queries(strategy, model.vocabulary),
        weights_folder=tmp_path,
    )


def flipped_bits(bundle: Path) -> Iterator[str]:
    """Flip one bit after the other, each put right again before the next, evenly over the files."""
    random = np.random.default_rng(0)
    share = FLIPS // len(FILES)
    chosen = [
        (name, bit)
        for name in FILES
        for bit in random.choice(8 * (bundle / name).stat().st_size, share, replace=False)
    ]
    for name, bit in chosen:
        whole = (bundle / name).read_bytes()
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (bundle / name).write_bytes(content)
        yield name
        (bundle / name).write_bytes(whole)


def test_a_thousand_flipped_bits_are_refused_and_the_whole_bundle_is_not(bundle: Path) -> None:
    load_bundle(bundle, HOST)

    refused: Counter[str] = Counter()
    for name in flipped_bits(bundle):
        with pytest.raises(BundleRefused):
            load_bundle(bundle, HOST)
        refused[name] += 1

    assert refused == dict.fromkeys(FILES, FLIPS // len(FILES))
    load_bundle(bundle, HOST)


def test_the_runtime_alone_would_load_many_of_them(bundle: Path) -> None:
    """The checksums do the work: a graph that loads may still answer otherwise."""
    vocabulary = Bundle.open(bundle).vocabulary
    users = {"users_by_age": np.ones((AGE_BUCKETS, len(vocabulary)), np.float32)}
    expected = load_bundle(bundle, HOST).run(users)["scores"]

    loaded, wrong = 0, 0
    for name in flipped_bits(bundle):
        if name not in (MODEL, WEIGHTS):
            continue
        content = (bundle / MODEL).read_bytes()
        try:
            scores = load(content, vocabulary, bundle).run(users)["scores"]
        except Exception:  # noqa: BLE001, S112 - whatever it refuses is not of interest here
            continue
        loaded += 1
        wrong += not np.array_equal(scores, expected)

    assert loaded > wrong > 0

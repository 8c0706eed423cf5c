"""Large weights are moved to pages of a file beside the graph; small ones stay inside."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from endcap.trainers.weights import move_weights


def graph(**constants: NDArray[np.generic]) -> ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph([], "test", [], [], tensors))


def test_large_weights_begin_at_pages_of_their_own(tmp_path: Path) -> None:
    first, second = np.arange(1_500, dtype=np.float32), np.arange(1_024, dtype=np.int32)
    model = graph(first=first, small=np.ones(1_023, np.float32), second=second)

    move_weights(model, tmp_path)

    content = (tmp_path / "model.onnx.data").read_bytes()
    assert content == first.tobytes() + bytes(2_192) + second.tobytes()  # 6,000 bytes fill a page and a half
    places = [
        {entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer
    ]
    assert places == [
        {"location": "model.onnx.data", "offset": "0", "length": "6000"},
        {},
        {"location": "model.onnx.data", "offset": "8192", "length": "4096"},
    ]
    assert [len(tensor.raw_data) for tensor in model.graph.initializer] == [0, 4_092, 0]


def test_a_graph_of_small_weights_has_no_file(tmp_path: Path) -> None:
    model = graph(small=np.ones(1_023, np.float32))
    before = model.SerializeToString()

    move_weights(model, tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert model.SerializeToString() == before

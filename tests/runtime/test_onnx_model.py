"""Graphs built here, run by the model that serves."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from endcap.runtime.onnx_model import OnnxModel
from endcap.sdk import Role, TensorSpec, Vocabulary
from endcap.sdk.errors import BundleRefused, DeadlineExceeded, EndcapError, InvalidInput


FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Shape = Sequence[int | str]


def graph(
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[int, Shape]],
    output: str = "scores",
    constants: dict[str, NDArray[np.generic]] | None = None,
    domains: tuple[str, ...] = ("",),
) -> ModelProto:
    """Return a graph with one output, a float tensor of any rank."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info(name, *facts) for name, facts in inputs.items()],
            [helper.make_tensor_value_info(output, FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains],
        ir_version=8,
    )


SCALAR = TensorSpec((), "float32", Role.VALUES)
FLOATS = TensorSpec(("queries", 2), "float32", Role.VALUES)
THREE = TensorSpec((3,), "float32", Role.VALUES)
ROWS = TensorSpec(("queries", "length"), "int64", Role.ITEMS)


def load(
    proto: ModelProto | bytes,
    run_seconds: float = 10.0,
    weights_folder: Path | None = None,
    **inputs: TensorSpec,
) -> OnnxModel:
    """Load a graph with one output, of the shape of its first input."""
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    axes = next(iter(inputs.values())).axes
    return OnnxModel(
        content,
        name="test",
        version="1",
        vocabulary=Vocabulary("abc"),
        inputs=inputs,
        outputs={"scores": TensorSpec(axes, "float32", Role.VALUES)},
        weights_folder=weights_folder,
        run_seconds=run_seconds,
    )


WEIGHTS = np.array([10, 20, 30], np.float32)
GATHER = graph(
    [helper.make_node("Gather", ["weights", "rows"], ["scores"])],
    {"rows": (INT64, ["queries", "length"])},
    constants={"weights": WEIGHTS},
)
DOUBLE = graph([helper.make_node("Add", ["x", "x"], ["scores"])], {"x": (FLOAT, ["queries", 2])})


def endless() -> ModelProto:
    """A loop that never stops by itself."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_again"]),
            helper.make_node("Add", ["value", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("go_on", BOOL, []),
            helper.make_tensor_value_info("value", FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on_again", BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, []),
        ],
        [helper.make_tensor("one", FLOAT, [], [1.0])],
    )
    return graph(
        [helper.make_node("Loop", ["", "true", "x"], ["scores"], body=body)],
        {"x": (FLOAT, [])},
        constants={"true": np.array(True)},
    )


def with_external_weights(location: str) -> ModelProto:
    """A graph whose weights lie in a file beside it, three floats."""
    weights = TensorProto(name="weights", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        weights.external_data.add(key=key, value=value)
    proto = graph([helper.make_node("Add", ["x", "weights"], ["scores"])], {"x": (FLOAT, [3])})
    proto.graph.initializer.append(weights)
    return proto


def test_a_graph_gives_its_outputs_by_name() -> None:
    model = load(GATHER, rows=ROWS)

    outputs = model.run({"rows": np.array([[2, 0]])})

    assert list(outputs) == ["scores"]
    assert outputs["scores"].tolist() == [[30, 10]]
    assert (model.name, model.version, model.vocabulary.ids) == ("test", "1", ("a", "b", "c"))


def test_an_empty_batch_is_no_error() -> None:
    outputs = load(GATHER, rows=ROWS).run({"rows": np.empty((0, 4), np.int64)})

    assert outputs["scores"].shape == (0, 4)


def test_several_threads_may_run_it_at_once() -> None:
    model = load(DOUBLE, x=FLOATS)
    inputs = [np.full((1, 2), number, np.float32) for number in range(200)]

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda x: model.run({"x": x})["scores"], inputs))

    assert [output.tolist() for output in outputs] == [[[2 * number] * 2] for number in range(200)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[0, -1]]), "must not be negative"),
        (np.array([[0, 3]]), "must hold rows below 3"),
        (np.array([[0, 2**40]]), "must hold rows below 3"),
        (np.array([[0]], np.int32), "must be int64, not int32"),
        (np.array([[0.0]]), "must be int64, not float64"),
        (np.array([0]), "must have the axes"),
    ],
)
def test_rows_are_checked_before_a_gather_wraps_them(rows: NDArray[np.generic], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(GATHER, rows=ROWS).run({"rows": rows})


PADDED = TensorSpec(("queries", "length"), "int64", Role.ITEMS, padding=True)
CODES = TensorSpec(("queries", "length"), "int64", Role.CODES, size=2)


def test_an_input_with_padding_takes_the_row_after_the_last_item() -> None:
    """The vocabulary is a, b, c; the fourth weight is that of the padding."""
    padded = graph(
        [helper.make_node("Gather", ["weights", "rows"], ["scores"])],
        {"rows": (INT64, ["queries", "length"])},
        constants={"weights": np.array([10, 20, 30, 0], np.float32)},
    )
    model = load(padded, rows=PADDED)

    assert model.run({"rows": np.array([[3, 2]])})["scores"].tolist() == [[0, 30]]
    with pytest.raises(InvalidInput, match="must hold rows below 4"):
        model.run({"rows": np.array([[4]])})


def test_codes_are_held_to_their_number_and_not_to_the_vocabulary() -> None:
    model = load(GATHER, rows=CODES)

    assert model.run({"rows": np.array([[1]])})["scores"].tolist() == [[20]]
    with pytest.raises(InvalidInput, match="must hold codes below 2"):
        model.run({"rows": np.array([[2]])})


def test_axes_of_one_name_are_of_one_length() -> None:
    """The graph itself would broadcast the one weight over both rows."""
    product = graph(
        [helper.make_node("Mul", ["x", "y"], ["scores"])],
        {"x": (FLOAT, ["queries", 2]), "y": (FLOAT, ["queries", 2])},
    )
    inputs = {"x": np.ones((2, 2), np.float32), "y": np.ones((1, 2), np.float32)}

    with pytest.raises(InvalidInput, match=r"input 'y' .* with queries = 2, not the shape \(1, 2\)"):
        load(product, x=FLOATS, y=FLOATS).run(inputs)


def test_values_hold_nan_only_where_one_may_be_missing() -> None:
    unknown = {"x": np.array([[1, np.nan]], np.float32)}

    with pytest.raises(InvalidInput, match="input 'x' of model 'test' must not hold NaN"):
        load(DOUBLE, x=FLOATS).run(unknown)
    scores = load(DOUBLE, x=replace(FLOATS, padding=True)).run(unknown)["scores"]
    np.testing.assert_array_equal(scores, [[2, np.nan]])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"y": FLOATS}, "has the inputs x, and its manifest declares y"),
        ({"x": FLOATS, "y": FLOATS}, "has the inputs x, and its manifest declares x, y"),
        ({"x": replace(FLOATS, dtype="float64")}, "in the graph, and float64"),
        ({"x": replace(FLOATS, axes=("queries",))}, "in the graph, and float32"),
        ({"x": replace(FLOATS, axes=("queries", 3))}, "in the graph, and float32"),
        ({"x": replace(FLOATS, axes=("queries", "width"))}, "in the graph, and float32"),
    ],
)
def test_a_graph_that_is_not_the_declared_one_is_refused(inputs: dict[str, TensorSpec], message: str) -> None:
    with pytest.raises(BundleRefused, match=message):
        load(DOUBLE, 10, None, **inputs)


def test_the_runtime_itself_would_wrap_a_negative_row() -> None:
    """Why the check exists: the graph answers for row -1 as if it were the last one."""
    session = load(GATHER, rows=ROWS)._session

    assert session.run(None, {"rows": np.array([[-1]])})[0].tolist() == [[30]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes the inputs x, not none"),
        ({"y": np.zeros((1, 2), np.float32)}, "takes the inputs x, not y"),
        ({"x": np.zeros((1, 2), np.float32), "y": np.zeros(1)}, "takes the inputs x, not x, y"),
        ({"x": np.zeros((1, 3), np.float32)}, "must have the axes"),
        ({"x": np.zeros((1, 2), np.float64)}, "must be float32, not float64"),
    ],
)
def test_inputs_are_checked(inputs: dict[str, NDArray[np.generic]], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(DOUBLE, x=FLOATS).run(inputs)


def test_scores_that_are_no_numbers_pass_through() -> None:
    divide = graph(
        [helper.make_node("Div", ["x", "zero"], ["scores"])],
        {"x": (FLOAT, [2])},
        constants={"zero": np.zeros(1, np.float32)},
    )

    scores = load(divide, x=TensorSpec((2,), "float32", Role.VALUES)).run(
        {"x": np.array([0, 1], np.float32)}
    )["scores"]

    assert np.isnan(scores[0])
    assert np.isinf(scores[1])


def test_an_endless_graph_is_ended() -> None:
    model = load(endless(), 0.2, x=SCALAR)
    start = time.monotonic()

    with pytest.raises(DeadlineExceeded, match=r"model 'test' ran longer than 0\.2 seconds"):
        model.run({"x": np.array(0, np.float32)})

    assert time.monotonic() - start < 2


def test_the_end_of_one_run_is_not_the_end_of_another() -> None:
    slow, quick = load(endless(), 0.3, x=SCALAR), load(DOUBLE, 60, x=FLOATS)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(slow.run, {"x": np.array(0, np.float32)})
        while not ended.done():
            quick.run({"x": np.ones((1, 2), np.float32)})

    assert isinstance(ended.exception(), DeadlineExceeded)


def test_a_graph_that_fails_says_so_without_the_runtime_s_words() -> None:
    reshape = graph(
        [helper.make_node("Reshape", ["x", "shape"], ["scores"])],
        {"x": (FLOAT, ["n"]), "shape": (INT64, [1])},
    )
    model = load(
        reshape,
        x=TensorSpec(("n",), "float32", Role.VALUES),
        shape=TensorSpec((1,), "int64", Role.VALUES),
    )

    with pytest.raises(EndcapError, match=r"^the graph of model 'test' failed: train it again$"):
        model.run({"x": np.ones(3, np.float32), "shape": np.array([7])})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        b"\x18\x00\x00\x00ORTM" + b"\x00" * 64,
        GATHER.SerializeToString()[:-20],
        graph([helper.make_node("NoSuchOperator", ["x"], ["scores"])], {"x": (FLOAT, [1])}),
        graph([helper.make_node("Boom", ["x"], ["scores"], domain="evil")], {"x": (FLOAT, [1])}),
        graph(
            [helper.make_node("Boom", ["x"], ["scores"], domain="evil")],
            {"x": (FLOAT, [1])},
            domains=("", "evil"),
        ),
        graph([helper.make_node("Cast", ["x"], ["scores"], to=FLOAT)], {"x": (TensorProto.STRING, [1])}),
    ],
    ids=["empty", "html", "ort-format", "truncated", "operator", "domain", "declared-domain", "input-type"],
)
def test_what_is_no_graph_that_can_run_here_is_refused(
    content: bytes | ModelProto, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleRefused):
        load(content, x=TensorSpec((1,), "float32", Role.VALUES))

    assert capfd.readouterr() == ("", "")


def test_weights_in_the_folder_are_mapped_and_outlive_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(WEIGHTS.tobytes())

    model = load(with_external_weights("weights"), weights_folder=Path(), x=THREE)

    maps = Path("/proc/self/maps").read_text()
    assert str(tmp_path / "weights") in maps
    (tmp_path / "new").write_bytes(bytes(12))
    (tmp_path / "new").replace(tmp_path / "weights")
    assert model.run({"x": np.ones(3, np.float32)})["scores"].tolist() == [11, 21, 31]
    (tmp_path / "weights").unlink()
    assert model.run({"x": np.ones(3, np.float32)})["scores"].tolist() == [11, 21, 31]


@pytest.mark.parametrize("location", ["../weights", "{folder}/weights", "linked", "short", "absent"])
def test_weights_outside_the_folder_or_beyond_their_file_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "weights").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "inside" / "linked").symlink_to(tmp_path / "weights")
    (tmp_path / "inside" / "short").write_bytes(WEIGHTS.tobytes()[:-1])

    with pytest.raises(BundleRefused):
        load(
            with_external_weights(location.format(folder=tmp_path)),
            weights_folder=tmp_path / "inside",
            x=THREE,
        )


@pytest.mark.parametrize("location", ["weights", "../weights", "{folder}/weights", "linked"])
def test_without_a_folder_no_weights_outside_the_graph_are_read(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "inside"):
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_bytes(np.ones(3, np.float32).tobytes())
    (tmp_path / "inside" / "linked").hardlink_to(tmp_path / "weights")
    monkeypatch.chdir(tmp_path / "inside")

    with pytest.raises(BundleRefused):
        load(
            with_external_weights(location.format(folder=tmp_path)),
            x=TensorSpec((3,), "float32", Role.VALUES),
        )

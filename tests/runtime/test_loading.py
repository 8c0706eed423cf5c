"""A bundle is loaded verified and warm, or refused whole."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from endcap.runtime.golden import golden_view, make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import Plugin, PluginHost
from endcap.sdk import (
    CatalogView,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Role,
    Rows,
    Scores,
    Task,
    TensorSpec,
    Vocabulary,
    hookimpl,
    recommend_by_score,
)
from endcap.sdk.bundle import GoldenQuery, write_bundle
from endcap.sdk.errors import BundleRefused, FailedPrecondition


ITEM_IDS = [f"item-{number}" for number in range(40)]
"""Each item is liked by those who have the one before it."""


class Neighbours:
    """Scores items by the rows of a matrix, summed over the history or the page's items."""

    tasks = frozenset({Task.FOR_YOU, Task.SIMILAR, Task.RELATED})

    def __init__(self, resources: Resources, _parameters: object) -> None:
        self._model = resources.model("neighbours")

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        known = [np.concatenate([query.history.rows, query.items]).astype(np.int64) for query in queries]
        scores = [self._model.run({"rows": each})["scores"] for each in known]
        return np.stack(scores)


class Silent(Neighbours):
    """Has nothing to say."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return [Ranking(np.empty(0, np.int32), np.empty(0, np.float32))] * len(queries)


class Raising(Neighbours):
    """Does not even stop at exceptions."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        raise SystemExit(1)


def host_of(factory: type[Neighbours], name: str = "neighbours") -> PluginHost:
    @hookimpl
    def register_strategies(register: RegisterStrategy) -> None:
        register(name, factory)

    module = ModuleType("made")
    module.register_strategies = register_strategies  # type: ignore[attr-defined]
    return PluginHost([Plugin("made", "made", "1", lambda: module)])


HOST = host_of(Neighbours)


INPUTS = {"rows": TensorSpec(("items",), "int64", Role.ITEMS)}
OUTPUTS = {"scores": TensorSpec((len(ITEM_IDS),), "float32", Role.VALUES)}


def matrix(seed: int = 0) -> bytes:
    """A graph that adds up the rows of a random matrix."""
    weights = np.random.default_rng(seed).random((len(ITEM_IDS), len(ITEM_IDS)), np.float32)
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Gather", ["weights", "rows"], ["chosen"]),
                helper.make_node("ReduceSum", ["chosen", "first"], ["scores"], keepdims=0),
            ],
            "neighbours",
            [helper.make_tensor_value_info("rows", TensorProto.INT64, ["items"])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([0]), "first")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    content: bytes = proto.SerializeToString()
    return content


def golden_queries(onnx: bytes, factory: type[Neighbours] = Neighbours) -> tuple[GoldenQuery, ...]:
    vocabulary = Vocabulary(ITEM_IDS)
    model = OnnxModel(
        onnx, name="neighbours", version="candidate", vocabulary=vocabulary, inputs=INPUTS, outputs=OUTPUTS
    )
    strategy = Instances(host_of(factory), Generation.of([model])).get("neighbours")
    return make_golden_queries(strategy, vocabulary)


def write(
    folder: Path,
    *,
    onnx: bytes | None = None,
    item_ids: Sequence[str] = tuple(ITEM_IDS),
    golden: Sequence[GoldenQuery] | None = None,
) -> Path:
    return write_bundle(
        folder,
        model="neighbours",
        onnx=matrix() if onnx is None else onnx,
        item_ids=item_ids,
        created_time=1_700_000_000_000,
        snapshot="0123456789abcdef",
        parameters={},
        state={"decay": 0.5},
        metrics={"recall@20": 0.1},
        inputs=INPUTS,
        outputs=OUTPUTS,
        golden_queries=golden_queries(matrix()) if golden is None else golden,
    )


def test_a_whole_bundle_is_loaded(tmp_path: Path) -> None:
    folder = write(tmp_path)

    model = load_bundle(folder, HOST)

    assert (model.name, model.version) == ("neighbours", folder.name)
    assert model.vocabulary.ids == tuple(ITEM_IDS)
    assert model.state == {"decay": 0.5}


def test_golden_queries_ask_about_every_kind_of_answer() -> None:
    golden = golden_queries(matrix())

    assert {query.task for query in golden} == {"for-you", "similar", "related"}
    assert {len(query.expected) for query in golden} == {10}
    assert all(not {*query.history, *query.items} & {*query.expected} for query in golden)


def test_golden_queries_are_the_same_whenever_they_are_made() -> None:
    assert golden_queries(matrix()) == golden_queries(matrix())


def test_a_strategy_that_answers_nothing_gives_no_golden_queries() -> None:
    with pytest.raises(FailedPrecondition, match="answers no query"):
        golden_queries(matrix(), Silent)


@pytest.mark.parametrize("seed", range(5))
def test_a_permuted_vocabulary_is_refused(seed: int, tmp_path: Path) -> None:
    permuted = np.random.default_rng(seed).permutation(ITEM_IDS).tolist()

    with pytest.raises(BundleRefused, match=r"answers golden query 0 \(for-you\) otherwise"):
        load_bundle(write(tmp_path, item_ids=permuted), HOST)


def test_a_vocabulary_that_slipped_by_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="otherwise than when it was trained"):
        load_bundle(write(tmp_path, item_ids=[*ITEM_IDS[1:], ITEM_IDS[0]]), HOST)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="otherwise than when it was trained"):
        load_bundle(write(tmp_path, onnx=matrix(seed=1)), HOST)


def test_a_rounding_difference_is_accepted(tmp_path: Path) -> None:
    nearly = [
        GoldenQuery(
            query.task,
            query.history,
            query.items,
            query.expected,
            tuple(score * (1 + 1e-5) for score in query.scores),
        )
        for query in golden_queries(matrix())
    ]

    load_bundle(write(tmp_path, golden=nearly), HOST)


def changed(change: Callable[[GoldenQuery], GoldenQuery]) -> list[GoldenQuery]:
    first, *rest = golden_queries(matrix())
    return [change(first), *rest]


@pytest.mark.parametrize(
    "change",
    [
        lambda query: GoldenQuery(query.task, query.history, query.items, query.expected[:-1], query.scores),
        lambda query: GoldenQuery(query.task, query.history, query.items, query.expected[::-1], query.scores),
        lambda query: GoldenQuery(query.task, ("gone",), query.items, query.expected, query.scores),
        lambda query: GoldenQuery("juggle", query.history, query.items, query.expected, query.scores),
    ],
    ids=["shorter", "other-order", "unknown-item", "unknown-task"],
)
def test_a_golden_query_that_makes_no_sense_is_refused(
    change: Callable[[GoldenQuery], GoldenQuery], tmp_path: Path
) -> None:
    with pytest.raises(BundleRefused):
        load_bundle(write(tmp_path, golden=changed(change)), HOST)


def test_a_bundle_without_golden_queries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="has no golden queries"):
        load_bundle(write(tmp_path, golden=[]), HOST)


def test_a_bundle_without_its_strategy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="strategy 'neighbours' does not exist: use one of other"):
        load_bundle(write(tmp_path), host_of(Neighbours, "other"))


@pytest.mark.parametrize("factory", [Raising, Silent])
def test_a_bundle_whose_strategy_cannot_answer_is_refused(factory: type[Neighbours], tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        load_bundle(write(tmp_path), host_of(factory))


@pytest.mark.parametrize("onnx", [b"", b"<html>", matrix()[:100]], ids=["empty", "html", "truncated"])
def test_bytes_that_are_not_a_graph_are_refused(onnx: bytes, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="the graph of model 'neighbours' cannot be loaded"):
        load_bundle(write(tmp_path, onnx=onnx, golden=golden_queries(matrix())), HOST)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path) / "manifest.json"
    values = json.loads(manifest.read_text())
    values["state"]["decay"] = 0.9
    manifest.write_text(json.dumps(values, indent=2))

    with pytest.raises(BundleRefused, match="manifest was altered"):
        load_bundle(manifest.parent, HOST)


def test_the_golden_catalog_follows_from_the_ids_alone() -> None:
    forwards, backwards = golden_view(Vocabulary(ITEM_IDS)), golden_view(Vocabulary(ITEM_IDS[::-1]))

    assert forwards.available.all()
    assert forwards.prices.tolist() == backwards.prices.tolist()[::-1]
    assert forwards.users_by_age["purchase"].tolist() == backwards.users_by_age["purchase"][:, ::-1].tolist()
    assert len(np.unique(forwards.weighted_users_by_age().sum(axis=0))) > len(ITEM_IDS) / 2

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from endcap.evaluation.data import EvaluationData
from endcap.runtime.loading import load_bundle
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import EventColumns, ItemColumns, Vocabulary
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused, InvalidInput, NotFound
from endcap.sdk.features import DAY
from endcap.sdk.profiles import PROFILE_INPUTS, profile_scores
from endcap.sdk.snapshot import Snapshot
from endcap.trainers import ease
from endcap.trainers.export import export_bundle, to_onnx
from endcap.trainers.interactions import Interactions
from endcap.trainers.parity import check_parity
from endcap.trainers.trainer import TrainedModel
from endcap.trainers.training import Training, find_trainer, train_bundle


NOW = 1_000 * DAY
ITEMS = [f"item{number}" for number in range(12)]


def quiet(_share: float, _what: str) -> None:
    """Tell nobody of the progress."""


@pytest.fixture(scope="module")
def shop() -> EvaluationData:
    """Return a shop of twelve items in which 30 users bought three baskets of three each."""
    generator = np.random.default_rng(3)
    baskets = [generator.choice(12, 3, replace=False) for _ in range(90)]
    items = ItemColumns(
        ids=ITEMS,
        titles=ITEMS,
        categories=[()] * 12,
        prices=np.full(12, np.nan),
        available=np.ones(12, np.bool_),
        created=np.zeros(12, np.int64),
    )
    events = EventColumns(
        users=np.tile(np.repeat(np.arange(30), 3), 3),
        rows=np.concatenate(baskets).astype(np.int32),
        types=np.full(270, "purchase"),
        times=NOW - np.repeat([3, 2, 1], 90) * DAY,
    )
    return EvaluationData("tiny", "whole", items, events, as_of=NOW, groups=())


@pytest.fixture(scope="module")
def snapshot(shop: EvaluationData, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Return the shop as trainers read it."""
    return shop.snapshot(tmp_path_factory.mktemp("shop") / "snapshot")


@pytest.fixture(scope="module")
def host() -> PluginHost:
    """Return the strategies that are installed."""
    return PluginHost.discover()


@pytest.fixture(scope="module", params=["popular", "item_knn", "ease"])
def training(
    request: pytest.FixtureRequest,
    snapshot: Snapshot,
    host: PluginHost,
    tmp_path_factory: pytest.TempPathFactory,
) -> Training:
    """Return the bundle of each strategy."""
    return train_bundle(
        request.param,
        snapshot,
        tmp_path_factory.mktemp("bundles"),
        host=host,
        created_time=NOW,
        progress=quiet,
        metrics={"recall@20": 0.5},
    )


@pytest.fixture(scope="module")
def trained(snapshot: Snapshot) -> TrainedModel:
    """Return EASE before its export."""
    return ease.trainer.train(Interactions.of_snapshot(snapshot), ease.EaseParameters(), quiet)


@pytest.fixture
def graph(trained: TrainedModel, tmp_path: Path) -> bytes:
    """Return EASE after its export."""
    return to_onnx(trained, tmp_path)


def loaded(graph: bytes, trained: TrainedModel, weights_folder: Path) -> OnnxModel:
    return OnnxModel(
        graph,
        name="ease",
        version="1",
        vocabulary=Vocabulary(trained.item_ids),
        inputs=trained.inputs,
        outputs=trained.outputs,
        weights_folder=weights_folder,
    )


def test_a_bundle_says_what_it_is(training: Training, snapshot: Snapshot) -> None:
    manifest = Bundle.open(training.bundle).manifest

    assert training.bundle == training.bundle.parent.parent / manifest.model / manifest.version
    assert manifest.snapshot == snapshot.manifest.fingerprint
    assert manifest.metrics == {"recall@20": 0.5}
    assert manifest.golden_queries


def test_a_graph_with_another_weight_is_refused(graph: bytes, trained: TrainedModel, tmp_path: Path) -> None:
    proto = onnx.load_from_string(graph)
    weights = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    altered = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(altered, weights.name))

    with pytest.raises(BundleRefused, match="differs from PyTorch"):
        check_parity(trained, loaded(proto.SerializeToString(), trained, tmp_path))


def test_a_graph_with_scores_of_another_shape_is_refused(
    graph: bytes, trained: TrainedModel, tmp_path: Path
) -> None:
    class Narrow(torch.nn.Module):
        def forward(self, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return weights

    with pytest.raises(BundleRefused, match="scores of shape"):
        check_parity(replace(trained, module=Narrow()), loaded(graph, trained, tmp_path))


def test_equal_trainings_give_equal_bytes_with_the_weights_beside_the_graph(
    host: PluginHost, tmp_path: Path
) -> None:
    """Similarities of 40 items are 6,400 bytes, more than stay inside the graph."""
    similarities = np.random.default_rng(0).random((40, 40), np.float32)
    trained = TrainedModel(
        module=ease.EaseNetwork(similarities).eval(),
        inputs=PROFILE_INPUTS,
        outputs=profile_scores(40),
        item_ids=tuple(f"item{number}" for number in range(40)),
    )

    first, second = (
        export_bundle(
            trained,
            tmp_path / name,
            name="ease",
            parameters=ease.EaseParameters(),
            snapshot="0123456789abcdef",
            created_time=NOW,
            titles={},
            metrics={},
            compared={},
            host=host,
        )
        for name in ("first", "second")
    )

    assert [path.name for path in (tmp_path / "first").iterdir()] == ["ease"]
    assert first.relative_to(tmp_path / "first") == second.relative_to(tmp_path / "second")
    contents = {path.name: path.read_bytes() for path in first.iterdir()}
    assert contents == {path.name: path.read_bytes() for path in second.iterdir()}
    assert contents["model.onnx.data"] == similarities.tobytes()
    assert similarities.tobytes() not in contents["model.onnx"]
    profile = {"rows": np.array([7]), "weights": np.ones((1, 1), np.float32)}
    assert load_bundle(first, host).run(profile)["scores"].tolist() == [similarities[7].tolist()]


def test_weights_beyond_a_bundle_are_refused_before_the_export(trained: TrainedModel, tmp_path: Path) -> None:
    module = torch.nn.Module()
    module.register_buffer("weights", torch.empty(5_000_000_000, device="meta"))

    with pytest.raises(InvalidInput, match=r"18\.6 GiB of weights, and a bundle holds at most 16"):
        to_onnx(replace(trained, module=module), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_exporter_is_silent(
    trained: TrainedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to_onnx(trained, tmp_path)

    assert capfd.readouterr() == ("", "")


def test_what_nothing_trains_is_named_with_what_exists(tmp_path: Path, snapshot: Snapshot) -> None:
    with pytest.raises(NotFound, match="trainers exist for .*ease, .*item_knn"):
        find_trainer("recently_viewed")

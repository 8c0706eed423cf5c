"""Bundles that are made in a moment, a server to bring them into service on, and one of two shops.

A bundle is a random matrix, asked its golden queries like a trained one.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Vocabulary
from endcap.sdk.bundle import write_bundle
from endcap.sdk.profiles import PROFILE_INPUTS, PROFILE_OPTION, profile_scores
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.trainers.weights import move_weights


NOW = 1_700_000_000_000


def _graph(model: str, size: int, seed: int) -> ModelProto:
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
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _write(
    parent: Path,
    item_ids: Sequence[str],
    *,
    seed: int = 0,
    model: str = "ease",
    recall: float | None = 0.1,
    rivals: Mapping[str, float] = MappingProxyType({}),
) -> Path:
    vocabulary, state = Vocabulary(item_ids), {"mode": "basket"}
    graph = _graph(model, len(item_ids), seed)
    parent.mkdir(parents=True, exist_ok=True)
    move_weights(graph, parent)
    onnx = graph.SerializeToString()
    inputs, outputs = dict(PROFILE_INPUTS), profile_scores(len(item_ids))
    if model == "item_knn":
        inputs["directional"] = PROFILE_OPTION
    loaded = OnnxModel(
        onnx,
        name=model,
        version="candidate",
        vocabulary=vocabulary,
        inputs=inputs,
        outputs=outputs,
        state=state,
        weights_folder=parent,
    )
    strategy = Instances(PluginHost.discover(), Generation.of([loaded])).get(model)
    return write_bundle(
        parent,
        weights_folder=parent,
        model=model,
        onnx=onnx,
        item_ids=item_ids,
        created_time=1_700_000_000_000 + seed,
        snapshot="0123456789abcdef",
        parameters={},
        state=state,
        metrics={} if recall is None else {"recall@20": recall},
        inputs=inputs,
        outputs=outputs,
        golden_queries=make_golden_queries(strategy, vocabulary),
        compared={name: {"recall@20": reached} for name, reached in rivals.items()},
    )


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Path]:
    """Write a bundle to ``parent/model/version``; a higher ``seed`` makes a newer one with other weights.

    Those of 32 items or more lie beside the graph.

    ``rivals`` is the recall that others are said to have reached on the same days, by name.
    """
    return _write


@pytest.fixture
async def model_server(tmp_path: Path) -> AsyncIterator[tuple[Settings, int]]:
    """The settings and the port of a server whose shops ``default`` and ``second`` sell ``item-0`` to 19."""
    settings = Settings(
        address="127.0.0.1:0",
        database_url=f"sqlite:///{tmp_path / 'endcap.db'}",
        bundle_store=tmp_path / "trained",
        bundles_folder=tmp_path / "bundles",
        refresh_seconds=0.1,
        strategy_timeout_seconds=30,
        drain_seconds=0.1,
    )
    await migrate(settings.database_url)
    database = await open_database(settings.database_url)
    async with database.write() as connection:
        for shop in ("default", "second"):
            await create_shop(connection=connection, shop=shop, now=1)
            items = [Item(f"item-{number}") for number in range(20)]
            await upsert_items(connection=connection, shop=shop, items=items, now=1)
    await database.close()
    settings.bundle_store.mkdir()
    application = Application(settings)
    await application.start()
    yield settings, application.port
    await application.stop()


@pytest.fixture
def stock() -> list[Item]:
    """What the shops of ``settings`` sell: nothing, where a module does not say otherwise."""
    return []


@pytest.fixture
async def settings(tmp_path: Path, stock: list[Item]) -> Settings:
    """Those of a server with the shops ``default`` and ``another``, which sell the same."""
    settings = Settings(
        address="127.0.0.1:0", database_url=f"sqlite:///{tmp_path}/endcap.db", drain_seconds=0.1
    )
    await migrate(settings.database_url)
    database = await open_database(settings.database_url)
    async with database.write() as connection:
        for shop in ("default", "another"):
            await create_shop(connection=connection, shop=shop, now=NOW, currency="GBP")
            if stock:
                await upsert_items(connection=connection, shop=shop, items=stock, now=NOW)
    await database.close()
    return settings


@pytest.fixture
async def application(settings: Settings) -> AsyncIterator[Application]:
    application = Application(settings)
    await application.start()
    yield application
    await application.stop()


@pytest.fixture
async def client(application: Application) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client

"""``ModelService``, as a client of a running server sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from endcap.catalog.database.engine import open_database
from endcap.client import AsyncClient, Options
from endcap.runtime.plugin_host import PluginHost
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.registry import ModelRegistry
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.model_pb2 import (
    BUNDLE_KIND_STRATEGY,
    BUNDLE_STATE_ACTIVE,
    BUNDLE_STATE_REFUSED,
    BUNDLE_STATE_REGISTERED,
    BUNDLE_STATE_RETIRED,
    Model,
)
from endcap.v1.model_service_pb2 import (
    ActivateBundleRequest,
    ActivateBundleResponse,
    DeleteBundleRequest,
    GetModelRequest,
    ListModelsRequest,
    RegisterBundleRequest,
    RollBackModelRequest,
)
from endcap.v1.recommendation_service_pb2 import RecommendResponse


ITEM_IDS = [f"item-{number}" for number in range(20)]
MakeBundle = Callable[..., Path]


@dataclass(frozen=True)
class Serving:
    """A server with the shops ``default`` and ``second``, and what is around it."""

    client: AsyncClient
    settings: Settings
    port: int
    make_bundle: MakeBundle

    async def register(self, *, seed: int = 0, model: str = "ease") -> str:
        """Register a new bundle and return its version."""
        folder = self.make_bundle(self.settings.bundle_store, ITEM_IDS, seed=seed, model=model)
        answer = await self.client.models.RegisterBundle(
            RegisterBundleRequest(path=f"{model}/{folder.name}"), timeout=30
        )
        return answer.bundle.version

    async def activate(self, version: str, model: str = "ease", **fields: object) -> ActivateBundleResponse:
        request = ActivateBundleRequest(model=model, version=version, **fields)  # type: ignore[arg-type]
        return await self.client.models.ActivateBundle(request, timeout=30)

    async def model(self) -> Model:
        return (await self.client.models.GetModel(GetModelRequest(model="ease"))).model

    async def recommend(self, **fields: int) -> RecommendResponse:
        return await self.client.recommend("home", visitor_id="eve", page_size=5, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def serving(model_server: tuple[Settings, int], make_bundle: MakeBundle) -> AsyncIterator[Serving]:
    settings, port = model_server
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")])
        yield Serving(client, settings, port, make_bundle)


def _bundles(answer: RecommendResponse) -> set[str]:
    return {bundle for result in answer.results for bundle in result.bundles}


async def test_a_registered_bundle_says_what_it_is_and_does_not_serve(serving: Serving) -> None:
    folder = serving.make_bundle(serving.settings.bundle_store, ITEM_IDS)

    answer = await serving.client.models.RegisterBundle(
        RegisterBundleRequest(path=f"ease/{folder.name}", request_id="r-1"), timeout=30
    )

    bundle = answer.bundle
    assert answer.request_id == "r-1"
    assert (bundle.model, bundle.version, bundle.state) == ("ease", folder.name, BUNDLE_STATE_REGISTERED)
    assert dict(bundle.metrics) == {"recall@20": 0.1}
    assert (bundle.kind, list(bundle.requires)) == (BUNDLE_KIND_STRATEGY, [])
    assert (bundle.snapshot, bundle.item_count) == ("0123456789abcdef", 20)
    assert bundle.create_time.ToMilliseconds() == 1_700_000_000_000
    assert not bundle.HasField("activate_time")
    assert len(bundle.checksum) == 64
    assert _bundles(await serving.recommend()) == set()


async def test_an_active_bundle_serves_at_once(serving: Serving) -> None:
    before = await serving.recommend()
    version = await serving.register()

    active = await serving.activate(version)
    after = await serving.recommend(minimum_revision=active.revision)

    assert active.model.active_version == version
    assert active.model.bundles[0].state == BUNDLE_STATE_ACTIVE
    assert active.model.bundles[0].HasField("activate_time")
    assert _bundles(after) == {f"ease@{version}"}
    assert after.generation == active.generation != before.generation
    assert after.revision >= active.revision


async def test_a_rollback_serves_with_the_bundle_before(serving: Serving) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    first = await serving.activate(old)
    second = await serving.activate(new)
    assert second.model.previous_version == old

    back = await serving.client.models.RollBackModel(
        RollBackModelRequest(model="ease", etag=second.model.etag), timeout=30
    )

    assert (back.model.active_version, back.model.previous_version) == (old, new)
    assert [bundle.state for bundle in back.model.bundles] == [BUNDLE_STATE_RETIRED, BUNDLE_STATE_ACTIVE]
    assert back.generation == first.generation
    assert _bundles(await serving.recommend()) == {f"ease@{old}"}


async def test_a_shadow_load_leaves_what_serves_alone(serving: Serving) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    active = await serving.activate(old)

    shadow = await serving.activate(new, validate_only=True)

    assert (shadow.model, shadow.generation) == (active.model, active.generation)
    assert _bundles(await serving.recommend()) == {f"ease@{old}"}


async def test_a_bundle_that_breaks_between_registration_and_activation_leaves_the_old_one_serving(
    serving: Serving,
) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    await serving.activate(old)
    graph = serving.settings.bundles_folder / "default" / "ease" / new / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])

    for validate_only in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await serving.activate(new, validate_only=validate_only)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "was altered" in (refused.value.details() or "")

    model = await serving.model()
    assert model.active_version == old
    assert model.bundles[0].state == BUNDLE_STATE_REFUSED
    assert "was altered" in model.bundles[0].refusal
    assert _bundles(await serving.recommend()) == {f"ease@{old}"}


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "vocabulary.json"])
async def test_a_flipped_bit_is_rejected_at_registration_and_at_activation_while_the_old_one_serves(
    serving: Serving, name: str
) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    active = await serving.activate(old)
    folder = serving.make_bundle(serving.settings.bundle_store, ITEM_IDS, seed=3)
    files = [serving.settings.bundles_folder / "default" / "ease" / new / name, folder / name]
    random = np.random.default_rng(0)

    for file in files:
        whole = file.read_bytes()
        for bit in random.choice(8 * len(whole), 10, replace=False):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            file.write_bytes(content)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                if file is files[0]:
                    await serving.activate(new)
                else:
                    await serving.client.models.RegisterBundle(
                        RegisterBundleRequest(path=f"ease/{folder.name}")
                    )
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        file.write_bytes(whole)

    answer = await serving.recommend()
    assert (answer.generation, _bundles(answer)) == (active.generation, {f"ease@{old}"})
    await serving.activate(new)


async def test_a_deleted_bundle_is_gone_and_an_active_one_stays(serving: Serving) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    await serving.activate(new)
    models = serving.client.models

    await models.DeleteBundle(DeleteBundleRequest(model="ease", version=old))
    await models.DeleteBundle(DeleteBundleRequest(model="ease", version=old, allow_missing=True))

    assert [bundle.version for bundle in (await serving.model()).bundles] == [new]
    for version, code in (
        (old, grpc.StatusCode.NOT_FOUND),
        (new, grpc.StatusCode.FAILED_PRECONDITION),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await models.DeleteBundle(DeleteBundleRequest(model="ease", version=version))
        assert refused.value.code() is code


async def test_models_are_listed_page_by_page(serving: Serving) -> None:
    for model in ("item_knn", "ease"):
        await serving.register(model=model)

    first = await serving.client.models.ListModels(ListModelsRequest(page_size=1))
    second = await serving.client.models.ListModels(
        ListModelsRequest(page_size=1, page_token=first.next_page_token)
    )

    assert [model.name for model in [*first.models, *second.models]] == ["ease", "item_knn"]
    assert first.next_page_token
    assert not second.next_page_token
    assert first.generation == (await serving.recommend()).generation


async def test_shops_have_their_own_generations(serving: Serving) -> None:
    version = await serving.register()
    active = await serving.activate(version)

    async with AsyncClient(f"127.0.0.1:{serving.port}", Options(shop="second")) as other:
        listed = await other.models.ListModels(ListModelsRequest())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.models.ActivateBundle(ActivateBundleRequest(model="ease", version=version))

    assert list(listed.models) == []
    assert listed.generation != active.generation
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("../trained", grpc.StatusCode.INVALID_ARGUMENT),
        ("ease/../../etc", grpc.StatusCode.INVALID_ARGUMENT),
        ("/etc", grpc.StatusCode.INVALID_ARGUMENT),
        ("ease//1", grpc.StatusCode.INVALID_ARGUMENT),
        ("ease/\N{SNOWMAN}", grpc.StatusCode.INVALID_ARGUMENT),
        ("x" * 513, grpc.StatusCode.INVALID_ARGUMENT),
        ("ease/nothing", grpc.StatusCode.NOT_FOUND),
        ("ease", grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_only_a_folder_of_the_store_is_registered(
    serving: Serving, path: str, code: grpc.StatusCode
) -> None:
    (serving.settings.bundle_store / "ease").mkdir()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await serving.client.models.RegisterBundle(RegisterBundleRequest(path=path))

    assert refused.value.code() is code


async def test_a_call_says_by_its_code_what_was_wrong(serving: Serving) -> None:
    version = await serving.register()
    models = serving.client.models
    for call, code in (
        (models.GetModel(GetModelRequest(model="item_knn")), grpc.StatusCode.NOT_FOUND),
        (models.GetModel(GetModelRequest()), grpc.StatusCode.INVALID_ARGUMENT),
        (models.ListModels(ListModelsRequest(page_size=-1)), grpc.StatusCode.INVALID_ARGUMENT),
        (models.ListModels(ListModelsRequest(page_token="made-up")), grpc.StatusCode.INVALID_ARGUMENT),  # noqa: S106
        (serving.activate("1"), grpc.StatusCode.NOT_FOUND),
        (serving.activate("x" * 65), grpc.StatusCode.INVALID_ARGUMENT),
        (serving.activate(version, etag="old"), grpc.StatusCode.ABORTED),
        (models.RollBackModel(RollBackModelRequest(model="ease")), grpc.StatusCode.FAILED_PRECONDITION),
        (models.RollBackModel(RollBackModelRequest(model="item_knn")), grpc.StatusCode.NOT_FOUND),
        (
            models.RegisterBundle(RegisterBundleRequest(path=f"ease/{version}")),
            grpc.StatusCode.ALREADY_EXISTS,
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is code, refused.value.details()


async def test_checking_before_registering_registers_nothing(serving: Serving) -> None:
    folder = serving.make_bundle(serving.settings.bundle_store, ITEM_IDS)

    answer = await serving.client.models.RegisterBundle(
        RegisterBundleRequest(path=f"ease/{folder.name}", validate_only=True), timeout=30
    )

    assert answer.bundle.version == folder.name
    assert list((await serving.client.models.ListModels(ListModelsRequest())).models) == []


class AnotherProcess:
    """What a command, or another server over the same database, does to the models."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> ModelRegistry:
        host, settings = PluginHost.discover(), self._settings
        self._database = await open_database(settings.database_url)
        return ModelRegistry(
            self._database,
            host,
            LoadedModels(host, settings.bundles_folder),
            store=settings.bundle_store,
            kept=settings.kept_bundles,
        )

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()


async def _until_the_server_saw(serving: Serving, revision: int) -> RecommendResponse:
    async with asyncio.timeout(30):
        answer = await serving.recommend()
        while answer.revision < revision:
            answer = await serving.recommend()
        return answer


async def test_what_another_process_activates_serves_soon(serving: Serving) -> None:
    version = await serving.register()
    async with AnotherProcess(serving.settings) as registry:
        activation = await registry.activate("default", "ease", version)

        answer = await serving.recommend(minimum_revision=activation.revision)
        later = await _until_the_server_saw(serving, activation.revision)

    assert _bundles(answer) == _bundles(later) == {f"ease@{version}"}
    # Its other rungs were never trained, which degrades nothing, and nothing is stale.
    assert not answer.degradations


async def test_a_process_that_cannot_load_what_another_one_activated_serves_on_with_the_old_bundle(
    serving: Serving,
) -> None:
    old, new = await serving.register(seed=1), await serving.register(seed=2)
    await serving.activate(old)
    async with AnotherProcess(serving.settings) as registry:
        activation = await registry.activate("default", "ease", new)
        (serving.settings.bundles_folder / "default" / "ease" / new / "model.onnx").write_bytes(b"<html>")

        answer = await _until_the_server_saw(serving, activation.revision)

    assert _bundles(answer) == {f"ease@{old}"}

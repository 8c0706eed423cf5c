"""Bundles are kept where nobody else writes, and what is kept is what serves or may serve again."""

import errno
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from weakref import ref

import pytest

from endcap.catalog.configuration.bundles import BundleState, RegisteredModel, get_model
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import (
    AlreadyExists,
    BundleRefused,
    Conflict,
    Exhausted,
    FailedPrecondition,
    InvalidInput,
    NotFound,
)
from endcap.server.metrics import Metrics
from endcap.server.models import files as bundle_files
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.registry import ModelRegistry
from endcap.server.serving import shops as shops_module
from endcap.server.serving.shops import Shops


ITEM_IDS = [f"item-{number}" for number in range(20)]
MakeBundle = Callable[..., Path]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        for shop in ("default", "../odd"):
            await create_shop(connection=connection, shop=shop, now=1)
            items = [Item(item_id) for item_id in ITEM_IDS]
            await upsert_items(connection=connection, shop=shop, items=items, now=1)
    yield database
    await database.close()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def registry(database: Database, tmp_path: Path, kept: Path) -> ModelRegistry:
    host = PluginHost.discover()
    store = tmp_path / "store"
    store.mkdir()
    return ModelRegistry(
        database, host, LoadedModels(host, kept), store=store, kept=2, clock=lambda: 1_700_000_000
    )


@pytest.fixture
def bundle(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "trained", ITEM_IDS)


@pytest.fixture
def versions(make_bundle: MakeBundle, tmp_path: Path) -> list[Path]:
    """Five bundles of one model, the oldest first."""
    return [make_bundle(tmp_path / "trained", ITEM_IDS, seed=seed) for seed in range(5)]


async def _model(database: Database) -> RegisteredModel:
    async with database.read() as connection:
        return await get_model(connection=connection, shop="default", model="ease")


async def _serve(registry: ModelRegistry, bundle: Path) -> None:
    await registry.register("default", bundle)
    await registry.activate("default", "ease", bundle.name)


async def test_a_registered_bundle_is_a_private_copy(
    registry: ModelRegistry, database: Database, bundle: Path, kept: Path
) -> None:
    registered = await registry.register("default", bundle)

    copy = kept / "default" / "ease" / bundle.name
    assert kept / registered.path == copy
    assert (registered.item_count, registered.size_bytes) == (
        20,
        sum(f.stat().st_size for f in bundle.iterdir()),
    )
    assert copy.stat().st_mode & 0o777 == kept.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in copy.iterdir()} == {file.name for file in bundle.iterdir()}
    assert all(file.stat().st_nlink == 1 for file in copy.iterdir())
    assert list(kept.iterdir()) == [kept / "default"]
    assert (await _model(database)).active is None


async def test_weights_beside_the_graph_serve_and_are_checked(
    registry: ModelRegistry, database: Database, make_bundle: MakeBundle, kept: Path, tmp_path: Path
) -> None:
    """Similarities of 40 items are 6,400 bytes, which lie in a file of their own."""
    item_ids = [f"item-{number}" for number in range(40)]
    first, second = (make_bundle(tmp_path / "trained", item_ids, seed=seed) for seed in range(2))
    await _serve(registry, first)
    registered = await registry.register("default", second)
    weights = kept / registered.path / "model.onnx.data"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(BundleRefused, match=r"model\.onnx\.data of the bundle was altered: copy"):
        await registry.activate("default", "ease", second.name)

    active = (await _model(database)).active
    assert active is not None
    assert active.version == first.name
    assert len(content) == 6_400
    assert active.size_bytes == sum(file.stat().st_size for file in first.iterdir())


async def test_the_shops_name_does_not_lead_out_of_the_folder(
    registry: ModelRegistry, bundle: Path, kept: Path
) -> None:
    registered = await registry.register("../odd", bundle)

    assert (kept / registered.path).resolve().is_relative_to(kept)


async def test_bundles_serve_from_wherever_their_folder_was_moved(
    registry: ModelRegistry, database: Database, bundle: Path, kept: Path, tmp_path: Path
) -> None:
    await _serve(registry, bundle)
    moved = kept.rename(tmp_path / "elsewhere")
    host = PluginHost.discover()
    shops = Shops(database, host, LoadedModels(host, moved), Metrics(), max_batch_size=8)

    await shops.refresh(view_max_age=1e9)

    assert _generation(shops) == {"ease": bundle.name}


async def test_a_bundle_is_registered_once(registry: ModelRegistry, bundle: Path, kept: Path) -> None:
    await registry.register("default", bundle)

    with pytest.raises(AlreadyExists):
        await registry.register("default", bundle)

    await registry.activate("default", "ease", bundle.name)
    assert list(kept.iterdir()) == [kept / "default"]


async def test_checking_a_bundle_registers_nothing(
    registry: ModelRegistry, database: Database, bundle: Path, kept: Path
) -> None:
    await registry.register("default", bundle, validate_only=True)

    with pytest.raises(NotFound):
        await _model(database)
    assert list(kept.iterdir()) == []


async def test_a_broken_bundle_leaves_nothing_behind(
    registry: ModelRegistry, database: Database, bundle: Path, kept: Path
) -> None:
    (bundle / "model.onnx").write_bytes(b"<html>")

    with pytest.raises(BundleRefused, match="was altered"):
        await registry.register("default", bundle)

    with pytest.raises(NotFound):
        await _model(database)
    assert not kept.exists()


async def test_a_bundle_of_another_catalog_is_rejected(
    registry: ModelRegistry, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    foreign = make_bundle(tmp_path / "trained", [f"other-{number}" for number in range(20)])

    with pytest.raises(BundleRefused, match="has no item of the shop 'default'"):
        await registry.register("default", foreign)
    with pytest.raises(NotFound, match="does not exist"):
        await registry.register("nowhere", foreign)


async def test_a_full_disk_is_said_and_leaves_nothing_behind(
    registry: ModelRegistry, bundle: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        (target / "model.onnx").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(bundle_files, "copy_bundle", full)

    with pytest.raises(Exhausted, match="no room"):
        await registry.register("default", bundle)

    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("path", ["..", "../trained", "/etc", "link"])
async def test_paths_stay_in_the_store(registry: ModelRegistry, tmp_path: Path, path: str) -> None:
    (tmp_path / "store" / "link").symlink_to(tmp_path)

    with pytest.raises(InvalidInput, match="must not lead out"):
        registry.find(path)


async def test_what_is_not_in_the_store_is_not_found(registry: ModelRegistry) -> None:
    with pytest.raises(NotFound):
        registry.find("ease/1")


async def test_a_rollback_serves_with_the_one_before_and_a_second_one_undoes_it(
    registry: ModelRegistry, database: Database, versions: list[Path]
) -> None:
    for bundle in versions[:2]:
        await _serve(registry, bundle)

    back = await registry.roll_back("default", "ease")
    forth = await registry.roll_back("default", "ease")

    assert (back.loaded.version, forth.loaded.version) == (versions[0].name, versions[1].name)
    assert forth.revision == back.revision + 1
    active = (await _model(database)).active
    assert active is not None
    assert active.version == versions[1].name


async def test_without_a_bundle_before_there_is_no_rollback(registry: ModelRegistry, bundle: Path) -> None:
    with pytest.raises(NotFound):
        await registry.roll_back("default", "ease")
    await _serve(registry, bundle)

    with pytest.raises(FailedPrecondition, match="no other bundle"):
        await registry.roll_back("default", "ease")


async def test_a_rollback_to_files_that_are_gone_changes_nothing_that_serves(
    registry: ModelRegistry, database: Database, versions: list[Path], kept: Path
) -> None:
    for bundle in versions[:2]:
        await _serve(registry, bundle)
    (kept / "default" / "ease" / versions[0].name).rename(kept / "gone")

    with pytest.raises(BundleRefused, match="are gone"):
        await registry.roll_back("default", "ease")

    model = await _model(database)
    assert [bundle.state for bundle in model.bundles] == [BundleState.ACTIVE, BundleState.REFUSED]
    assert "are gone" in model.bundles[1].refusal


async def test_a_bundle_that_was_altered_after_registration_is_rejected_and_says_why(
    registry: ModelRegistry, database: Database, versions: list[Path], make_bundle: MakeBundle, kept: Path
) -> None:
    await _serve(registry, versions[0])
    registered = await registry.register("default", versions[1])
    (kept / registered.path / "vocabulary.json").write_bytes(b"[]")

    with pytest.raises(BundleRefused, match="was altered"):
        await registry.activate("default", "ease", versions[1].name)

    model = await _model(database)
    assert model.active is not None
    assert model.active.version == versions[0].name
    assert (model.bundles[0].state, "was altered" in model.bundles[0].refusal) == (BundleState.REFUSED, True)


async def test_another_whole_bundle_in_its_place_is_rejected(
    registry: ModelRegistry, versions: list[Path], kept: Path
) -> None:
    registered = await registry.register("default", versions[0])
    for file in (kept / registered.path).iterdir():
        file.write_bytes((versions[1] / file.name).read_bytes())

    with pytest.raises(BundleRefused, match="not the one that was registered"):
        await registry.activate("default", "ease", versions[0].name)


async def test_a_shadow_load_checks_and_changes_nothing(
    registry: ModelRegistry, database: Database, versions: list[Path], kept: Path
) -> None:
    await _serve(registry, versions[0])
    registered = await registry.register("default", versions[1])
    before = (await _model(database)).etag

    await registry.check("default", "ease", versions[1].name)
    (kept / registered.path / "model.onnx").unlink()
    with pytest.raises(BundleRefused):
        await registry.check("default", "ease", versions[1].name)

    assert (await _model(database)).etag == before


async def test_an_outdated_etag_is_rejected(
    registry: ModelRegistry, database: Database, versions: list[Path]
) -> None:
    await _serve(registry, versions[0])
    read = (await _model(database)).etag
    await _serve(registry, versions[1])

    for call in (
        registry.activate("default", "ease", versions[0].name, etag=read),
        registry.check("default", "ease", versions[0].name, etag=read),
        registry.roll_back("default", "ease", etag=read),
    ):
        with pytest.raises(Conflict, match="read it again"):
            await call
    await registry.roll_back("default", "ease", etag=(await _model(database)).etag)


async def test_the_bundles_that_served_last_are_kept(
    registry: ModelRegistry, database: Database, versions: list[Path], kept: Path
) -> None:
    await registry.register("default", versions[4])
    for bundle in versions[:4]:
        await _serve(registry, bundle)

    left = {bundle.name for bundle in versions[2:]}
    assert {bundle.version for bundle in (await _model(database)).bundles} == left
    assert {path.name for path in (kept / "default" / "ease").iterdir()} == left
    assert list(kept.iterdir()) == [kept / "default"]


async def test_pruning_keeps_as_many_as_it_is_told(
    registry: ModelRegistry, versions: list[Path], kept: Path
) -> None:
    for bundle in versions[:2]:
        await _serve(registry, bundle)
    assert await registry.prune("default") == []

    deleted = await registry.prune("default", kept=1)

    assert [bundle.version for bundle in deleted] == [versions[0].name]
    assert [path.name for path in (kept / "default" / "ease").iterdir()] == [versions[1].name]


async def test_garbage_is_what_no_bundle_owns(registry: ModelRegistry, bundle: Path, kept: Path) -> None:
    await registry.register("default", bundle)
    orphan = kept / "default" / "ease" / "00000000000001-0123456789abcdef"
    dead, alive = kept / ".staging-dead", kept / ".staging-alive"
    for folder in (orphan, dead, alive):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"graph")
    os.utime(dead, (time.time() - 7200,) * 2)

    await registry.collect_garbage("default")

    assert [path.name for path in (kept / "default" / "ease").iterdir()] == [bundle.name]
    assert {path.name for path in kept.iterdir()} == {"default", ".staging-alive"}


async def test_what_an_interrupted_registration_left_is_replaced(
    registry: ModelRegistry, bundle: Path, kept: Path
) -> None:
    half = kept / "default" / "ease" / bundle.name
    half.mkdir(parents=True)
    (half / "model.onnx").write_bytes(b"half")

    await registry.register("default", bundle)

    await registry.activate("default", "ease", bundle.name)


async def test_a_deleted_bundle_is_gone_with_its_files_and_may_come_back(
    registry: ModelRegistry, bundle: Path, kept: Path
) -> None:
    await registry.register("default", bundle)

    await registry.delete("default", "ease", bundle.name)

    assert list((kept / "default" / "ease").iterdir()) == []
    with pytest.raises(NotFound):
        await registry.activate("default", "ease", bundle.name)
    await _serve(registry, bundle)
    with pytest.raises(FailedPrecondition, match="is active"):
        await registry.delete("default", "ease", bundle.name)


@pytest.fixture
async def shops(database: Database, kept: Path) -> Shops:
    """The shops as another process holds them."""
    host = PluginHost.discover()
    shops = Shops(database, host, LoadedModels(host, kept), Metrics(), max_batch_size=8)
    await shops.refresh(view_max_age=1e9)
    return shops


def _generation(shops: Shops) -> dict[str, str]:
    models = shops.get("default").state.generation.models
    return {name: model.version for name, model in models.items()}


async def test_another_process_switches_without_loading_the_shop_again(
    registry: ModelRegistry, shops: Shops, versions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shops_module, "load_shop", None)
    view = shops.get("default").state.view
    for bundle in versions[:2]:
        await registry.register("default", bundle)
        activation = await registry.activate("default", "ease", bundle.name)

        await shops.refresh(view_max_age=1e9)

        assert _generation(shops) == {"ease": bundle.name}
        assert shops.get("default").revision == activation.revision
    assert shops.get("default").state.view is view


async def test_another_process_that_missed_a_switch_ends_up_with_the_last_one(
    registry: ModelRegistry, shops: Shops, versions: list[Path]
) -> None:
    for bundle in versions[:2]:
        await _serve(registry, bundle)
    activation = await registry.roll_back("default", "ease")

    await shops.refresh(view_max_age=1e9)

    assert _generation(shops) == {"ease": versions[0].name}
    assert shops.get("default").revision == activation.revision


async def test_a_process_that_starts_and_cannot_load_the_active_bundle_serves_with_the_one_before(
    registry: ModelRegistry, database: Database, versions: list[Path], kept: Path
) -> None:
    for bundle in versions[:2]:
        await _serve(registry, bundle)
    graph = kept / "default" / "ease" / versions[1].name / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(b"<html>")
    host = PluginHost.discover()
    shops = Shops(database, host, LoadedModels(host, kept), Metrics(), max_batch_size=8)

    await shops.refresh(view_max_age=1e9)
    broken = _generation(shops)
    graph.write_bytes(whole)
    await shops.refresh(view_max_age=0)

    assert broken == {"ease": versions[0].name}
    assert _generation(shops) == {"ease": versions[1].name}


async def test_a_model_is_let_go_when_nothing_serves_with_it(
    registry: ModelRegistry, shops: Shops, versions: list[Path]
) -> None:
    await _serve(registry, versions[0])
    await shops.refresh(view_max_age=1e9)
    old = ref(shops.get("default").state.generation.models["ease"])

    await _serve(registry, versions[1])
    await shops.refresh(view_max_age=1e9)
    gc.collect()

    assert old() is None

"""A process that dies at any step of an activation leaves the old bundle active or the new one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from endcap.catalog.configuration.bundles import BundleState, get_model
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.runtime.plugin_host import PluginHost
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.registry import ModelRegistry


ITEM_IDS = [f"item-{number}" for number in range(20)]

_DIE_AFTER_A_STEP = """
import asyncio, os, sys
from pathlib import Path
from endcap.catalog.database.engine import open_database
from endcap.runtime.plugin_host import PluginHost
from endcap.server.models import files as bundle_files
from endcap.server.models import registry as model_registry
from endcap.server.models.loaded import LoadedModels

step, url, folder, source = sys.argv[1:]

def dying(function):
    def call(*arguments, **keywords):
        function(*arguments, **keywords)
        os._exit(9)
    return call

def dying_later(function):
    async def call(*arguments, **keywords):
        await function(*arguments, **keywords)
        os._exit(9)
    return call

async def activate():
    host = PluginHost.discover()
    database = await open_database(url)
    registry = model_registry.ModelRegistry(
        database, host, LoadedModels(host, Path(folder)), store=Path(folder), kept=2
    )
    bundle = await registry.register("default", Path(source))
    await registry.activate("default", bundle.model, bundle.version)
    if step == "activated":
        os._exit(9)
    os._exit(9)

if step == "copy_bundle":
    bundle_files.copy_bundle = dying(bundle_files.copy_bundle)
elif step in ("register_bundle", "activate_bundle", "get_model"):
    setattr(model_registry, step, dying_later(getattr(model_registry, step)))
elif step in ("keep", "discard_all_but", "sweep"):
    setattr(bundle_files.BundleFiles, step, dying(getattr(bundle_files.BundleFiles, step)))
asyncio.run(activate())
"""


@pytest.mark.parametrize(
    ("step", "new_is_active"),
    [
        ("copy_bundle", False),
        ("register_bundle", False),
        ("keep", False),
        ("activate_bundle", False),
        ("activated", True),
        ("discard_all_but", True),
        ("sweep", True),
    ],
)
async def test_a_process_that_dies_leaves_one_whole_bundle_active(
    step: str, new_is_active: bool, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    url, folder = f"sqlite:///{tmp_path}/endcap.db", tmp_path / "bundles"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        items = [Item(item_id) for item_id in ITEM_IDS]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    host = PluginHost.discover()
    registry = ModelRegistry(database, host, LoadedModels(host, folder), store=tmp_path, kept=2)
    old, new = (make_bundle(tmp_path, ITEM_IDS, seed=seed) for seed in (1, 2))
    await registry.register("default", old)
    await registry.activate("default", "ease", old.name)

    died = subprocess.run(
        [sys.executable, "-c", _DIE_AFTER_A_STEP, step, url, str(folder), str(new)], check=False
    )

    assert died.returncode == 9
    async with database.read() as connection:
        model = await get_model(connection=connection, shop="default", model="ease")
    active = [bundle for bundle in model.bundles if bundle.state is BundleState.ACTIVE]
    assert [bundle.version for bundle in active] == [new.name if new_is_active else old.name]
    await LoadedModels(host, folder).load(active[0])
    # Whoever comes next finds nothing in the way.
    if new.name not in {bundle.version for bundle in model.bundles}:
        await registry.register("default", new)
    await registry.activate("default", "ease", new.name)
    await registry.collect_garbage("default")
    assert {path.name for path in (folder / "default" / "ease").iterdir()} == {old.name, new.name}
    await database.close()

"""The page on the architecture says which modules a call passes; here one passes them."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import endcap.sdk
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest
from endcap.v1.recommendation_service_pb2 import RecommendResponse


ROOT = Path(endcap.sdk.__file__).parents[3]
LIFE = (
    (ROOT / "ARCHITECTURE.md")
    .read_text(encoding="utf-8")
    .partition("## The life of")[2]
    .partition("\n## ")[0]
)

CONVERT = "server/api/convert/recommendations.py"
RULES = "server/reranking/"
WRITING = {
    "catalog/database/group_commit.py",
    "catalog/database/engine.py",
    "catalog/database/sqlite.py",
    "catalog/database/sqlite_driver.py",
}
"""What writes exposures off the request path, which may fall into the time of a call."""


def stations() -> list[str]:
    """Return the numbered modules."""
    return re.findall(r"^\d+\. .*?`([\w/.]+)`", LIFE, flags=re.MULTILINE)


def module_of(file: Path, *, root: Path = ROOT) -> str:
    """Return the name of a module below the namespace of one of the repository's roots; empty for others."""
    parts = file.relative_to(root).parts if file.is_relative_to(root) else ()
    return "/".join(parts[2:]) if parts[1:2] == ("endcap",) else ""


async def passed(call: Callable[[], Any]) -> tuple[list[str], RecommendResponse]:
    """Return the modules that a call enters, in any thread, each at its first time, and its answer."""
    found: dict[str, None] = {}

    def enter(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and (module := module_of(Path(frame.f_code.co_filename))):
            found[RULES if module.startswith(RULES) else module] = None

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        answer = await call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    ours = [module for module in found if not module.startswith(("client/", "v1/"))]
    return [module for module in ours if module not in WRITING], answer


def test_modules_are_named_alike_in_whatever_folder_the_repository_was_cloned_into() -> None:
    for clone in ("/src/endcap", "/tests/my shop/endcap", "/endcap/endcap/other name"):
        root = Path(clone)

        assert (
            module_of(root / "server/endcap/server/recommending/slate.py", root=root)
            == "server/recommending/slate.py"
        )
        assert module_of(root / "tests/server/test_server.py", root=root) == ""
        assert module_of(root / ".venv/lib/endcap/sdk.py", root=root) == ""
        assert module_of(Path("/lib/endcap/page.py"), root=root) == ""


def test_ten_modules_are_passed_and_none_twice() -> None:
    assert len(stations()) == len(set(stations())) == 10


async def test_a_call_passes_the_modules_that_the_page_names_in_their_order(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    settings = Settings(
        address="127.0.0.1:0",
        database_url=f"sqlite:///{tmp_path}/endcap.db",
        bundle_store=tmp_path / "trained",
        bundles_folder=tmp_path / "bundles",
        refresh_seconds=600.0,  # nothing else happens during a call
        strategy_timeout_seconds=30.0,
        drain_seconds=0.1,
    )
    await migrate(settings.database_url)
    database = await open_database(settings.database_url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        items = [Item(f"item-{number}") for number in range(9)]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    await database.close()
    bundle = make_bundle(settings.bundle_store, [item.id for item in items]).name
    application = Application(settings)
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        await client.models.RegisterBundle(RegisterBundleRequest(path=f"ease/{bundle}"), timeout=30)
        await client.models.ActivateBundle(ActivateBundleRequest(model="ease", version=bundle), timeout=30)
        await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")])
        modules, answer = await passed(
            lambda: client.recommend("home", visitor_id="eve", filter='id:"item"', page_size=5, deadline=30)
        )
    await application.stop()

    assert {result.strategy for result in answer.results} == {"ease"}
    named = set(re.findall(r"`([\w/.]+)`", LIFE))
    assert [module for module in modules if module not in named] == []
    # The page asks the rules for what to look for before any strategy is asked.
    order = [module for module in stations() if module != RULES]
    assert [module for module in modules if module in order] == order
    assert modules.index(order[1]) < modules.index(CONVERT) < modules.index(order[2])
    assert RULES in modules

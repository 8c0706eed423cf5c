"""ARCHITECTURE.md names the layers and the modules of three journeys; here the journeys are made."""

import asyncio
import re
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import pytest

import endcap.sdk
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_files
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import Source
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.server import maintenance
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest


ROOT = Path(endcap.sdk.__file__).parents[3]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

RERANKING = "server/reranking/"
WRITING = "catalog/database/"
"""Runs the statements of every journey; exposures are written while a call runs, too."""


def section(title: str) -> str:
    """Return the text below a heading of the page."""
    return re.split(r"\n##+ ", PAGE.partition(f"# {title}\n")[2])[0]


def stations(journey: str) -> list[str]:
    """Return the numbered modules of a journey, in order."""
    return re.findall(r"^\d+\. .*?`([\w/.]+)`", section(journey), flags=re.MULTILINE)


def module_of(file: Path, *, root: Path = ROOT) -> str:
    """Return the name of a module below the namespace of one of the repository's roots; empty for others."""
    parts = file.relative_to(root).parts if file.is_relative_to(root) else ()
    return "/".join(parts[2:]) if parts[1:2] == ("endcap",) else ""


async def passed(call: Callable[[], Awaitable[object]]) -> list[str]:
    """Return the modules that a call enters, in any thread, each at its first time."""
    found: dict[str, None] = {}

    def enter(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and (module := module_of(Path(frame.f_code.co_filename))):
            found[RERANKING if module.startswith(RERANKING) else module] = None

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        await call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [module for module in found if not module.startswith(("client/", "v1/", WRITING))]


@asynccontextmanager
async def serving(folder: Path, make_bundle: Callable[..., Path]) -> AsyncIterator[AsyncClient]:
    """Serve a shop of nine items with an active model, and give a client of it."""
    settings = Settings(
        address="127.0.0.1:0",
        database_url=f"sqlite:///{folder}/endcap.db",
        bundle_store=folder / "trained",
        bundles_folder=folder / "bundles",
        refresh_seconds=600.0,  # nothing else happens during a call
        strategy_timeout_seconds=30.0,
        drain_seconds=0.1,
    )
    items = [Item(f"item-{number}") for number in range(9)]
    database = await create(settings.database_url, items)
    await database.close()
    bundle = make_bundle(settings.bundle_store, [item.id for item in items]).name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maintenance, "SHORTEST_REST", 600.0)  # not even events are counted
        application = Application(settings)
        await application.start()
        async with AsyncClient(f"127.0.0.1:{application.port}") as client:
            await client.models.RegisterBundle(RegisterBundleRequest(path=f"ease/{bundle}"), timeout=30)
            await client.models.ActivateBundle(
                ActivateBundleRequest(model="ease", version=bundle), timeout=30
            )
            await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")])
            yield client
        await application.stop()


async def create(url: str, items: list[Item]) -> Database:
    """Open a database of one shop with some items."""
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    return database


def check(journey: str, modules: list[str]) -> None:
    """Compare the modules that a journey passed with the page."""
    named = set(re.findall(r"`([\w/.]+)`", section(journey)))
    order = stations(journey)
    assert [module for module in modules if module not in named] == []
    assert [module for module in modules if module in order] == order


def test_modules_are_named_alike_in_whatever_folder_the_repository_was_cloned_into() -> None:
    for clone in ("/src/endcap", "/tests/my shop/endcap", "/endcap/endcap/other name"):
        root = Path(clone)

        slate = root / "server/endcap/server/recommending/slate.py"
        assert module_of(slate, root=root) == "server/recommending/slate.py"
        assert module_of(root / "tests/server/test_server.py", root=root) == ""
        assert module_of(root / ".venv/lib/endcap/sdk.py", root=root) == ""
        assert module_of(Path("/lib/endcap/page.py"), root=root) == ""


@pytest.mark.parametrize("journey", ["An answer", "An event", "An import"])
def test_a_journey_has_at_most_ten_stations_and_passes_none_twice(journey: str) -> None:
    assert len(stations(journey)) == len(set(stations(journey))) <= 10


async def test_an_answer_passes_the_modules_that_the_page_names_in_their_order(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    async with serving(tmp_path, make_bundle) as client:

        async def recommend() -> None:
            answer = await client.recommend(
                "home", visitor_id="eve", filter='id:"item"', page_size=5, deadline=30
            )
            assert {result.strategy for result in answer.results} == {"ease"}

        modules = await passed(recommend)

    check("An answer", modules)


async def test_an_event_passes_the_modules_that_the_page_names_in_their_order(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    async with serving(tmp_path, make_bundle) as client:
        token = (await client.recommend("home", visitor_id="eve", page_size=5)).attribution_token
        event = Event(type="view", visitor_id="eve", item_id="item-1", attribution_token=token)

        await asyncio.sleep(0.5)  # for the exposure to be written

        modules = await passed(lambda: client.record_events([event], deadline=30))

    check("An event", modules)


async def test_an_import_passes_the_modules_that_the_page_names_in_their_order(tmp_path: Path) -> None:
    database = await create(f"sqlite:///{tmp_path}/endcap.db", [])
    file = tmp_path / "items.csv"
    file.write_text("item_id,title\nmug,Mug\n", encoding="utf-8")

    modules = await passed(lambda: import_files(database, "default", [Source(Subject.ITEMS, file)], now=2))

    await database.close()
    check("An import", modules)


@pytest.mark.parametrize(("room", "title"), [("server", "The server"), ("catalog", "The catalog")])
def test_the_page_shows_the_layers_that_the_contracts_hold(room: str, title: str) -> None:
    """The picture has a line a layer, from the top down, as the contract of the import linter has."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each.get("containers") == [f"endcap.{room}"]]

    picture = section(title).partition("```text\n")[2].partition("```")[0]

    shown = [line.split("  ")[0].strip() for line in picture.splitlines() if line.strip()]
    assert shown == layers

"""Shops in memory: what other processes and the server's own calls write, whatever is being loaded."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from endcap.catalog.configuration.audit_log import PlacementChange, record_change
from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.events.events import Event
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.catalog.memory.loading import LoadedShop, load_shop
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.sdk.errors import Unavailable
from endcap.server.maintenance import SHORTEST_REST, refresh
from endcap.server.metrics import Metrics
from endcap.server.models.loaded import LoadedModels
from endcap.server.serving import releasing
from endcap.server.serving import shops as shops_module
from endcap.server.serving.shops import Shops
from endcap.server.serving.state import ServedShop, ShopState


NOW = 1_700_000_000_000
YEAR = 31_536_000.0


class SlowLoading:
    """Stands in for ``load_shop``: it reads the database at once, and answers when it is let through."""

    def __init__(self) -> None:
        self.loads = 0
        self.reading_done = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, database: Database, shop: str, *, now: int) -> LoadedShop:
        self.loads += 1
        loaded = await load_shop(database, shop, now=now)
        self.reading_done.set()
        await self.gate.wait()
        return loaded


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW)
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=NOW)
    yield database
    await database.close()


@pytest.fixture
async def shops(database: Database, tmp_path: Path) -> Shops:
    host = PluginHost.discover()
    shops = Shops(database, host, LoadedModels(host, tmp_path), Metrics(), max_batch_size=8)
    await shops.refresh(view_max_age=YEAR)
    return shops


@pytest.fixture
async def writer(database: Database, shops: Shops) -> AsyncIterator[EventWriter]:
    writer = EventWriter(database, shops.committed)
    yield writer
    await writer.close()


@pytest.fixture
def slow_loading(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> SlowLoading:
    """Every load of a shop but the first."""
    loading = SlowLoading()
    monkeypatch.setattr(shops_module, "load_shop", loading)
    return loading


def view(event_id: str) -> Event:
    return Event(event_id, "view", "mug", NOW, visitor_id="eve")


async def write_item(database: Database, item_id: str) -> int:
    """Write as another process does: nobody tells the shops."""
    async with database.write() as connection:
        return await upsert_items(connection=connection, shop="default", items=[Item(item_id)], now=NOW)


async def change_settings(database: Database) -> int:
    """Write what cannot be taken in piece by piece."""
    async with database.write() as connection:
        return await advance_revision(connection=connection, shop="default")


def views_of_eve(shop: ServedShop) -> int:
    return len(shop.state.histories.of(visitor_id="eve"))


async def test_events_committed_while_a_shop_is_loaded_again_are_in_what_was_loaded(
    database: Database, shops: Shops, writer: EventWriter, slow_loading: SlowLoading
) -> None:
    shop = shops.get("default")
    before = shop.state

    await writer.record("default", [view("before the load")])
    await change_settings(database)
    refreshing = asyncio.create_task(shops.refresh(view_max_age=YEAR))
    await slow_loading.reading_done.wait()
    await writer.record("default", [view("during the load")])
    recorded = await writer.record("default", [view("still during the load")])
    known_during_the_load = views_of_eve(shop)
    slow_loading.gate.set()
    await refreshing

    assert shop.state is not before
    assert (known_during_the_load, views_of_eve(shop)) == (3, 3)
    assert shop.revision == recorded.revision


async def test_what_another_process_wrote_during_a_load_is_found_after_it(
    database: Database, shops: Shops, writer: EventWriter, slow_loading: SlowLoading
) -> None:
    shop = shops.get("default")
    await change_settings(database)
    refreshing = asyncio.create_task(shops.refresh(view_max_age=YEAR))
    await slow_loading.reading_done.wait()
    await write_item(database, "teapot")
    recorded = await writer.record("default", [view("after the item")])
    slow_loading.gate.set()
    await refreshing
    known_after_the_load = (len(shop.state.view), views_of_eve(shop), shop.revision < recorded.revision)

    await shops.reach(shop, recorded.revision, time.monotonic() + 5)

    assert known_after_the_load == (1, 1, True)
    assert (len(shop.state.view), views_of_eve(shop)) == (2, 1)
    assert shop.revision == recorded.revision


async def test_another_process_s_change_of_a_placement_needs_no_load_of_the_catalog(
    database: Database, shops: Shops, slow_loading: SlowLoading
) -> None:
    async with database.write() as connection:
        shelf = Placement("shelf", Task.TRENDING, (RungSpec("popular"),))
        shelf = await put_placement(connection=connection, shop="default", placement=shelf, now=NOW)
        change = PlacementChange("shelf", shelf.revision, NOW, None, shelf)
        await record_change(connection=connection, shop="default", change=change)
    shop = shops.get("default")
    view = shop.state.view

    await shops.reach(shop, shelf.revision, time.monotonic() + 5)

    assert "shelf" in shop.state.ladders
    assert shop.revision == shelf.revision
    assert (slow_loading.loads, shop.state.view is view) == (0, True)


async def test_calls_that_wait_for_one_revision_share_a_load(
    database: Database, shops: Shops, slow_loading: SlowLoading
) -> None:
    shop = shops.get("default")
    revision = await change_settings(database)

    deadline = time.monotonic() + 5
    calls = [asyncio.create_task(shops.reach(shop, revision, deadline)) for _ in range(20)]
    await slow_loading.reading_done.wait()
    slow_loading.gate.set()
    await asyncio.gather(*calls)

    assert shop.revision == revision
    assert slow_loading.loads == 1


async def test_nobody_waits_for_a_revision_that_was_never_written(shops: Shops) -> None:
    shop = shops.get("default")

    await asyncio.wait_for(shops.reach(shop, 2**62, time.monotonic() + 3600), 10)

    assert shop.revision == 2


async def test_a_call_waits_for_a_revision_no_longer_than_its_time(
    database: Database, shops: Shops, slow_loading: SlowLoading
) -> None:
    shop = shops.get("default")
    revision = await change_settings(database)

    await shops.reach(shop, revision, time.monotonic() + 0.05)

    assert shop.revision < revision


async def test_a_database_that_fails_leaves_a_call_with_what_is_in_memory(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(**_: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(shops_module, "read_changes_since", fail)
    shop = shops.get("default")

    await shops.reach(shop, shop.revision + 1, time.monotonic() + 5)

    assert len(shop.state.view) == 1


async def test_another_process_s_items_need_no_load_of_the_catalog(
    database: Database, shops: Shops, slow_loading: SlowLoading
) -> None:
    """The teapot is written twice, so that only a note is left of the first time."""
    shop = shops.get("default")
    await write_item(database, "teapot")
    await write_item(database, "kettle")
    revision = await write_item(database, "teapot")

    await shops.reach(shop, revision, time.monotonic() + 5)

    assert (shop.state.view.vocabulary.ids, shop.state.view.version) == (
        ("mug", "teapot", "kettle"),
        f"default@{revision}/2",  # of these items, and of the events up to revision 2
    )
    await shops.count()
    assert shop.state.view.version == f"default@{revision}"
    assert shop.revision == revision
    assert slow_loading.loads == 0


async def test_events_that_came_before_their_item_are_there_with_it(
    database: Database, shops: Shops, writer: EventWriter
) -> None:
    shop = shops.get("default")
    await writer.record("default", [Event("early", "view", "teapot", NOW, visitor_id="eve")])
    known_before = views_of_eve(shop)

    await shops.reach(shop, await write_item(database, "teapot"), time.monotonic() + 5)

    assert (known_before, shop.state.history(None, "eve").rows.tolist()) == (0, [1])


async def test_an_answer_that_began_before_an_item_came_in_does_not_hear_of_it(
    database: Database, shops: Shops, writer: EventWriter
) -> None:
    shop = shops.get("default")
    before = shop.state
    await shops.reach(shop, await write_item(database, "teapot"), time.monotonic() + 5)
    bought = Event("bought", "purchase", "teapot", NOW, visitor_id="eve")
    await writer.record("default", [view("viewed"), bought])

    def told(state: ShopState) -> tuple[list[int], list[int]]:
        seen = state.seen(None, "eve", types=["view", "purchase"], since=0)
        return state.history(None, "eve").rows.tolist(), seen.tolist()

    assert told(before) == ([0], [0])
    assert told(shop.state) == ([0, 1], [0, 1])


async def test_items_that_are_written_during_a_load_are_found_after_it(
    database: Database, shops: Shops, slow_loading: SlowLoading
) -> None:
    """One call asks for the item while the load is under way, and waits for the load."""
    shop = shops.get("default")
    await change_settings(database)
    refreshing = asyncio.create_task(shops.refresh(view_max_age=YEAR))
    await slow_loading.reading_done.wait()
    revision = await write_item(database, "teapot")
    reaching = asyncio.create_task(shops.reach(shop, revision, time.monotonic() + 5))
    slow_loading.gate.set()
    await asyncio.gather(refreshing, reaching)

    assert shop.state.view.vocabulary.ids == ("mug", "teapot")
    assert (shop.revision, slow_loading.loads) == (revision, 1)


async def test_a_time_that_passes_counts_without_a_write(database: Database, tmp_path: Path) -> None:
    items = [
        Item("soon", available_time=NOW + 1_000),
        Item("until", expire_time=NOW + 2_000),
        Item("sold out", available_time=NOW + 1_000, availability=Availability.OUT_OF_STOCK),
    ]
    async with database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    now = NOW
    host = PluginHost.discover()
    models = LoadedModels(host, tmp_path)
    shops = Shops(database, host, models, Metrics(), max_batch_size=8, clock=lambda: now / 1000)
    available = []
    for now in (NOW, NOW + 999, NOW + 1_000, NOW + 1_999, NOW + 2_000):  # noqa: B007
        await shops.refresh(view_max_age=YEAR)
        state = shops.get("default").state
        assert state.masks.eligible([]).mask.tolist() == state.view.available.tolist()
        available.append(state.view.available.tolist()[1:])

    assert available == [
        [False, True, False],
        [False, True, False],
        [True, True, False],
        [True, True, False],
        [True, False, False],
    ]


async def test_the_next_refresh_is_due_when_an_item_comes_or_goes(database: Database, tmp_path: Path) -> None:
    items = [Item("soon", available_time=NOW + 2_000), Item("until", expire_time=NOW + 9_000)]
    async with database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    now = NOW
    host = PluginHost.discover()
    models = LoadedModels(host, tmp_path)
    shops = Shops(database, host, models, Metrics(), max_batch_size=8, clock=lambda: now / 1000)
    rests = {}
    for now in (NOW, NOW + 1_900, NOW + 2_000, NOW + 9_000):
        rests[now - NOW] = await refresh(shops, database, seconds=5, view_max_age=YEAR)

    assert rests == {0: 2, 1_900: SHORTEST_REST, 2_000: 5, 9_000: 5}


async def test_what_was_computed_of_items_survives_a_load(database: Database, shops: Shops) -> None:
    shop = shops.get("default")
    before = shop.state.view
    await write_item(database, "teapot")

    for _ in range(2):
        await change_settings(database)
        await shops.refresh(view_max_age=YEAR)

    changed = shop.state.view.changed_since(before)
    assert changed is not None
    assert changed.tolist() == [1]


async def test_the_memory_of_a_shop_that_was_loaded_again_is_given_back_off_the_event_loop(
    database: Database, shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[tuple[threading.Thread, list[object]]] = []
    done = threading.Event()

    def note(parts: list[object]) -> None:
        given_back.append((threading.current_thread(), parts))
        done.set()

    monkeypatch.setattr(releasing, "_give_back", note)
    titles = shops.get("default").state.view.titles

    await change_settings(database)
    await shops.refresh(view_max_age=YEAR)
    gc.collect()  # views may lie in circles

    assert await asyncio.to_thread(done.wait, 10)
    ((thread, parts),) = given_back
    assert thread is not threading.main_thread()
    assert any(part is titles for part in parts)

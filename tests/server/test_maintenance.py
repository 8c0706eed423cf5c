"""What goes on beside the calls: it outlives every error, and health says when it cannot."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.memory.loading import LoadedShop, load_shop
from endcap.client import AsyncClient, Options
from endcap.sdk.errors import Unavailable
from endcap.server.app import Application
from endcap.server.maintenance import Maintenance
from endcap.server.serving import shops as shops_module
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.shop_service_pb2 import DeleteShopRequest


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def fill(database: Database, shop: str) -> None:
    async with database.write() as connection:
        await create_shop(connection=connection, shop=shop, now=1)
        items = [Item(f"item-{number}", title=f"Item {number}") for number in range(9)]
        await upsert_items(connection=connection, shop=shop, items=items, now=1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    await fill(database, "default")
    yield database
    await database.close()


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return Settings(
        address="127.0.0.1:0",
        database_url=f"sqlite:///{tmp_path}/endcap.db",
        refresh_seconds=0.05,
        strategy_timeout_seconds=30,
        drain_seconds=0.1,
    )


@pytest.fixture
async def application(settings: Settings) -> AsyncIterator[Application]:
    application = Application(settings)
    await application.start()
    yield application
    await application.stop()


def client(application: Application, shop: str = "default") -> AsyncClient:
    return AsyncClient(f"127.0.0.1:{application.port}", Options(shop=shop))


async def shown(application: Application, shop: str) -> list[str]:
    async with client(application, shop) as each:
        return [result.item_id for result in (await each.recommend("home", visitor_id="eve")).results]


async def health_until(application: Application, state: object) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel, asyncio.timeout(10):
        stub = health_pb2_grpc.HealthStub(channel)
        while (await stub.Check(health_pb2.HealthCheckRequest())).status != state:  # type: ignore[attr-defined] # noqa: ASYNC110
            await asyncio.sleep(0.02)


def broken(shop: str) -> Callable[..., Awaitable[LoadedShop]]:
    """Return what loads every shop but one."""

    async def load(database: Database, name: str, *, now: int) -> LoadedShop:
        if name == shop:
            raise TypeError("argument of type 'NoneType' is not iterable")
        return await load_shop(database, name, now=now)

    return load


async def test_a_shop_that_cannot_be_loaded_keeps_no_other_from_serving_and_is_tried_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, "another")
    monkeypatch.setattr(shops_module, "load_shop", broken("another"))
    application = Application(settings)
    await application.start()
    try:
        assert len(await shown(application, "default")) == 9
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await shown(application, "another")
        assert rejected.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "cannot be loaded at the moment" in str(rejected.value.details())
        monkeypatch.setattr(shops_module, "load_shop", load_shop)
        found: list[str] = []
        for _ in range(50):  # the client tries again itself, too
            with suppress(grpc.aio.AioRpcError):
                found = await shown(application, "another")
                break
        assert len(found) == 9
    finally:
        await application.stop()


async def test_a_deleted_shop_that_could_not_be_loaded_is_not_found(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, "another")
    monkeypatch.setattr(shops_module, "load_shop", broken("another"))
    application = Application(settings)
    await application.start()
    try:
        async with client(application) as operator:
            await operator.shops.DeleteShop(DeleteShopRequest(shop="another"), timeout=30)

        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await shown(application, "another")
        assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
    finally:
        await application.stop()


async def test_a_server_whose_refresher_cannot_go_on_is_not_well_until_it_can(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    await health_until(application, SERVING)

    def fail(**_: object) -> None:
        raise TypeError("argument of type 'NoneType' is not iterable")

    with monkeypatch.context() as patch:
        patch.setattr(shops_module, "list_shops", fail)
        await health_until(application, NOT_SERVING)
    await health_until(application, SERVING)


async def test_a_database_that_is_away_leaves_a_server_well() -> None:
    states: list[bool] = []
    failures: list[str] = []
    sixth = asyncio.Event()

    async def turn() -> float:
        if len(failures) == 6:
            sixth.set()
        raise Unavailable("the database does not answer")

    async def set_health(is_well: bool) -> None:
        states.append(is_well)

    maintenance = Maintenance(on_failure=failures.append, on_health=set_health)
    maintenance.begin("refresh", turn, pause=0.001)
    await asyncio.wait_for(sixth.wait(), 10)
    await maintenance.close()

    assert states == []
    assert set(failures) == {"refresh"}


async def test_a_shop_that_was_just_created_is_served_at_once(database: Database, settings: Settings) -> None:
    application = Application(settings.model_copy(update={"refresh_seconds": 1_000.0}))
    await application.start()
    try:
        await fill(database, "new")
        assert len(await shown(application, "new")) == 9
    finally:
        await application.stop()


async def test_what_people_buy_is_popular_within_a_second(application: Application) -> None:
    """606 events of 101 visitors: item 7 has 101 buyers, item 3 has 50, item 5 has one."""
    events = [Event(type="purchase", visitor_id=f"v{number}", item_id="item-7") for number in range(101)]
    events += [Event(type="purchase", visitor_id=f"v{number}", item_id="item-3") for number in range(50)]
    events += [Event(type="purchase", visitor_id="v1", item_id="item-5") for _ in range(455)]
    async with client(application) as each:
        before = await each.recommend("home", visitor_id="eve")
        for start in range(0, len(events), 303):
            recorded = await each.record_events(events[start : start + 303])
            assert recorded.accepted_count == 303
        acknowledged = time.monotonic()
        while True:
            answer = await each.recommend("home", visitor_id="eve")
            best = [result.item_id for result in answer.results[:3]]
            if best == ["item-7", "item-3", "item-5"]:
                break
            assert time.monotonic() < acknowledged + 1.5  # a second, and what a busy machine takes besides
            await asyncio.sleep(0.05)

    assert before.view != answer.view

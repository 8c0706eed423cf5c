"""What a shop keeps for a while: older events and exposures go, in batches that hold nobody up."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import change_shop, create_shop
from endcap.catalog.database import deletion
from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event, Outcome, events_after
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import ExposedItem, Exposure, exposed_items
from endcap.catalog.events.retention import Pruned, prune_shop
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.memory.loading import load_shop
from endcap.client import AsyncClient
from endcap.sdk.errors import NotFound
from endcap.server.app import Application
from endcap.server.settings import Settings


NOW = 1_700_000_000_000
DAY = 86_400_000
MakeEvent = Callable[..., Event]


async def keep(database: Database, *, events: int = 0, exposures: int = 0) -> None:
    """Say for how many days the shop keeps what."""
    async with database.write() as connection:
        await change_shop(
            connection=connection,
            shop="default",
            change=lambda shop: replace(shop, keep_events_days=events, keep_exposures_days=exposures),
        )


async def record(database: Database, events: list[Event], shop: str = "default") -> tuple[Outcome, ...]:
    async with database.write() as connection:
        return (await store_events(connection=connection, shop=shop, events=events)).outcomes


async def stored(database: Database, shop: str = "default") -> list[str]:
    async with database.read() as connection:
        events = await events_after(connection=connection, shop=shop, revision=0)
    return [event.event_id for _, event in events]


async def show(database: Database, times: list[int]) -> None:
    """Write down that ``ann`` was shown the mug at some times."""
    log = ExposureLog(database)
    for time in times:
        items = (ExposedItem("mug", "popular"),)
        log.record(Exposure("default", f"request-{time}", time, "home", "v", {}, items, "ann"))
    await log.close()


async def shown(database: Database) -> list[int]:
    async with database.read() as connection:
        found = await exposed_items(
            connection=connection, shop="default", user_id="ann", visitor_id=None, since=0
        )
    return [time for time, _ in found]


async def test_a_shop_keeps_everything_unless_it_says_otherwise(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    await record(catalog_database, [catalog_event("old", time=1), catalog_event("new")])
    await show(catalog_database, [1, NOW])

    assert await prune_shop(catalog_database, "default", now=NOW) == Pruned(0, 0)
    assert await stored(catalog_database) == ["old", "new"]
    assert await shown(catalog_database) == [NOW, 1]


async def test_what_is_older_than_the_shop_keeps_goes_and_the_rest_stays(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    ages = {"day-41": 41 * DAY, "day-40": 40 * DAY, "day-40-and-1-ms": 40 * DAY + 1, "today": 0}
    await record(catalog_database, [catalog_event(name, time=NOW - age) for name, age in ages.items()])
    await show(catalog_database, [NOW - 8 * DAY, NOW - 6 * DAY, NOW])
    await keep(catalog_database, events=40, exposures=7)

    counted = await prune_shop(catalog_database, "default", now=NOW, dry_run=True)
    before = await stored(catalog_database)
    deleted = await prune_shop(catalog_database, "default", now=NOW)

    assert counted == deleted == Pruned(events=2, exposures=1)
    assert len(before) == 4
    assert await stored(catalog_database) == ["day-40", "today"]
    assert await shown(catalog_database) == [NOW, NOW - 6 * DAY]
    assert await prune_shop(catalog_database, "default", now=NOW) == Pruned(0, 0)


async def test_a_clock_that_runs_ahead_makes_nothing_old(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    await record(catalog_database, [catalog_event("old", time=NOW - 50 * DAY), catalog_event("new")])
    await keep(catalog_database, events=60)

    assert (await prune_shop(catalog_database, "default", now=NOW + 365 * DAY)).events == 0


async def test_an_event_of_the_future_makes_nothing_old(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    await record(catalog_database, [catalog_event("new"), catalog_event("early", time=NOW + 100 * DAY)])
    await keep(catalog_database, events=60)

    assert (await prune_shop(catalog_database, "default", now=NOW)).events == 0


async def test_another_shop_loses_nothing(catalog_database: Database, catalog_event: MakeEvent) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="second", now=1)
    events = [catalog_event("old", time=1), catalog_event("new")]
    for shop in ("default", "second"):
        await record(catalog_database, events, shop)
    await keep(catalog_database, events=30)

    await prune_shop(catalog_database, "default", now=NOW)

    assert await stored(catalog_database) == ["new"]
    assert await stored(catalog_database, "second") == ["old", "new"]


async def test_others_write_between_two_batches(
    catalog_database: Database, catalog_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "BATCH_SIZE", 10)
    old = [catalog_event(f"old-{number}", time=number) for number in range(200)]
    await record(catalog_database, [*old, catalog_event("new")])
    await keep(catalog_database, events=30)

    pruning = asyncio.create_task(prune_shop(catalog_database, "default", now=NOW))
    outcomes: list[Outcome] = []
    while not pruning.done():
        outcomes += await record(catalog_database, [catalog_event(f"during-{len(outcomes)}")])
    pruned = await pruning

    assert pruned.events == 200
    assert len(outcomes) > 5
    assert set(outcomes) == {Outcome.ACCEPTED}
    assert await stored(catalog_database) == ["new", *(f"during-{number}" for number in range(len(outcomes)))]


async def test_a_shop_in_memory_knows_nothing_of_what_goes(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    async with catalog_database.write() as connection:
        await upsert_items(
            connection=connection, shop="default", items=[Item("mug"), Item("kettle")], now=NOW
        )
    await record(catalog_database, [catalog_event("old", time=1, item_id="kettle"), catalog_event("new")])
    await keep(catalog_database, events=30)
    before = await load_shop(catalog_database, "default", now=NOW)
    await prune_shop(catalog_database, "default", now=NOW)
    after = await load_shop(catalog_database, "default", now=NOW)

    assert [len(loaded.histories.of("ann").rows) for loaded in (before, after)] == [1, 1]


async def test_a_server_deletes_and_forgets_by_itself(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    async with catalog_database.write() as connection:
        items = [Item("mug"), Item("kettle")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await record(catalog_database, [catalog_event("old", time=1, item_id="kettle"), catalog_event("new")])
    application = Application(
        Settings(
            address="127.0.0.1:0",
            database_url=catalog_url,
            bundles_folder=tmp_path / "bundles",
            refresh_seconds=0.1,
            view_max_age_seconds=0.1,
            prune_seconds=0.1,
            drain_seconds=0.1,
        )
    )
    await application.start()
    try:
        async with AsyncClient(f"127.0.0.1:{application.port}") as client, asyncio.timeout(20):

            async def viewed() -> list[str]:
                answer = await client.recommend("recently-viewed", user_id="ann")
                return [result.item_id for result in answer.results]

            before = await viewed()
            await keep(catalog_database, events=30)
            while (after := await viewed()) == before:
                pass
    finally:
        await application.stop()

    assert (before, after) == (["mug", "kettle"], ["mug"])
    assert await stored(catalog_database) == ["new"]


async def test_a_shop_that_does_not_exist_is_named(catalog_database: Database) -> None:
    with pytest.raises(NotFound, match="third"):
        await prune_shop(catalog_database, "third", now=NOW)

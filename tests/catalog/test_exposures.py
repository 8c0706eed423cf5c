"""Exposures: written off the request path, and counted when they cannot be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.tables import EXPOSURES, SHOPS
from endcap.catalog.events import exposure_log
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import (
    Assignment,
    Degradation,
    ExposedItem,
    Exposure,
    exposed_items,
    read_items,
)


EXPOSURE = Exposure(
    shop="default",
    request_id="r1",
    time=5,
    placement="home",
    view="default@2",
    bundles={"ease": "7"},
    items=(
        ExposedItem("mug", "ease", "ease@7", -0.5),
        ExposedItem("cup", "ease", "ease@7"),
        ExposedItem("kettle", "popular"),
    ),
    user_id="ann",
    degraded=(Degradation("ease", "timed_out"),),
)


@pytest.fixture
def deleting_elsewhere(catalog_url: str) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Hold what another process holds while it deletes a user of the shop."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        database = await open_database(catalog_url)
        async with database.write() as connection:
            await connection.execute(select(SHOPS.c.id).where(SHOPS.c.id == "default").with_for_update())
            yield
        await database.close()

    return hold


async def rows(database: Database) -> list[dict[str, Any]]:
    """Return what is stored, in the order in which it was."""
    async with database.read() as connection:
        found = await connection.execute(select(EXPOSURES).order_by(EXPOSURES.c.sequence))
        return [dict(row) for row in found.mappings()]


async def record(database: Database, *exposures: Exposure) -> None:
    """Store exposures, each in a commit of its own."""
    for exposure in exposures:
        log = ExposureLog(database)
        log.record(exposure)
        await log.close()


def shown(*item_ids: str, **changes: Any) -> Exposure:
    return replace(EXPOSURE, items=tuple(ExposedItem(each, "ease") for each in item_ids), **changes)


async def counted(database: Database) -> list[list[str]]:
    """Return the lists that count, in the order of their time."""
    stored = sorted(await rows(database), key=lambda row: row["time"])
    return [row["item_ids"] for row in stored if not row["superseded"]]


async def test_exposures_are_written_by_the_time_the_log_closes(catalog_database: Database) -> None:
    assigned = (Assignment("ranking", "new", 0.5),)
    log = ExposureLog(catalog_database)

    log.record(EXPOSURE)
    log.record(
        replace(
            EXPOSURE,
            request_id="r2",
            page=10,
            query="mug",
            language="de",
            device="phone",
            candidates=b"12345678",
            assignments=assigned,
            configuration=7,
        )
    )
    await log.close()

    first, second = await rows(catalog_database)
    assert [first["sequence"], second["sequence"]] == [1, 2]
    assert first["bundles"] == {"ease": "7"}
    assert first["item_ids"] == ["mug", "cup", "kettle"]
    assert first["sources"] == [["ease", "ease@7", 2], ["popular", "", 1]]
    assert first["log_propensities"] == [-0.5, None, None]
    assert first["degraded"] == [{"strategy": "ease", "cause": "timed_out"}]
    assert (first["assignments"], first["superseded"]) == ([], False)
    assert (second["page"], second["query"], second["language"]) == (10, "mug", "de")
    assert (second["device"], second["candidates"], second["configuration"]) == ("phone", b"12345678", 7)
    assert second["assignments"] == [["ranking", "new", 0.5]]
    assert read_items(first["item_ids"], first["sources"], first["log_propensities"]) == list(EXPOSURE.items)


async def test_a_list_where_chance_played_no_part_has_no_propensities(catalog_database: Database) -> None:
    await record(catalog_database, shown("mug", "tea"))

    (row,) = await rows(catalog_database)
    assert row["log_propensities"] == []
    assert read_items(row["item_ids"], row["sources"], []) == [
        ExposedItem("mug", "ease"),
        ExposedItem("tea", "ease"),
    ]


async def test_a_call_that_a_client_repeats_is_one_exposure(catalog_database: Database) -> None:
    log = ExposureLog(catalog_database)
    log.record(EXPOSURE)
    log.record(replace(EXPOSURE, time=6))
    await log.close()
    await record(catalog_database, replace(EXPOSURE, time=7))

    assert [row["time"] for row in await rows(catalog_database)] == [5]


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "three commits"])
async def test_of_a_repeated_call_with_other_items_the_last_one_served_counts(
    catalog_database: Database, together: bool
) -> None:
    lists = [shown("mug", time=1), shown("tea", time=2), shown("cup", time=3)]
    if together:
        log = ExposureLog(catalog_database)
        for each in lists:
            log.record(each)
        await log.close()
    else:
        await record(catalog_database, *lists)

    stored = {row["item_ids"][0]: row["superseded"] for row in await rows(catalog_database)}
    assert stored == {"mug": True, "tea": True, "cup": False}
    async with catalog_database.read() as connection:
        assert await exposed_items(
            connection=connection, shop="default", user_id="ann", visitor_id=None, since=0
        ) == [(3, "cup")]


async def test_an_exposure_that_arrives_late_does_not_count_in_place_of_a_later_one(
    catalog_database: Database,
) -> None:
    await record(catalog_database, shown("tea", time=2), shown("mug", time=1))

    assert await counted(catalog_database) == [["tea"]]
    assert len(await rows(catalog_database)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "r2"},
        {"placement": "cart"},
        {"page": 10},
        {"user_id": "ben"},
        {"user_id": None, "visitor_id": "ann"},
        {"user_id": None},
    ],
    ids=str,
)
async def test_a_caller_with_a_constant_request_id_loses_no_exposure(
    catalog_database: Database, change: dict[str, Any]
) -> None:
    log = ExposureLog(catalog_database)
    log.record(shown("mug", time=1))
    log.record(shown("tea", time=2, **change))
    await log.close()
    await record(catalog_database, shown("cup", time=3, **change))

    assert await counted(catalog_database) == [["mug"], ["cup"]]


@pytest.mark.parametrize("seed", range(5))
async def test_however_exposures_share_commits_the_last_list_of_each_page_counts(
    catalog_database: Database, seed: int
) -> None:
    numbers = Random(seed)
    latest: dict[tuple[str, int], tuple[int, str]] = {}
    for start in range(0, 100, 10):
        log = ExposureLog(catalog_database)
        for number in range(start, start + 10):
            page, item_id = (numbers.choice("rs"), numbers.randrange(2)), numbers.choice(["mug", "tea"])
            log.record(shown(item_id, request_id=page[0], page=page[1], time=number))
            if item_id != latest.get(page, (0, ""))[1]:
                latest[page] = (number, item_id)
        await log.close()

    stored = [row for row in await rows(catalog_database) if not row["superseded"]]
    found = {(row["request_id"], row["page"]): (row["time"], *row["item_ids"]) for row in stored}
    assert len(found) == len(stored)
    assert found == latest


async def test_two_servers_that_record_the_same_calls_store_each_once(
    catalog_database: Database, catalog_url: str
) -> None:
    other = await open_database(catalog_url)
    logs = [ExposureLog(catalog_database), ExposureLog(other)]
    for number in range(200):
        for log, time in zip(logs, (1, 2), strict=True):
            log.record(shown("mug" if number % 2 else f"tea {time}", request_id=f"{number}", time=time))
    await asyncio.gather(*(log.close() for log in logs))
    await other.close()

    kept = [row for row in await rows(catalog_database) if not row["superseded"]]
    assert len(kept) == 200
    assert {row["item_ids"][0] for row in kept} == {"mug", "tea 2"}


async def test_exposures_of_a_shop_that_was_deleted_are_dropped_without_a_word(
    catalog_database: Database,
) -> None:
    lost: list[int] = []
    log = ExposureLog(catalog_database, on_lost=lost.append)
    log.record(replace(EXPOSURE, shop="nowhere"))
    log.record(EXPOSURE)
    with capture_logs() as logged:
        await log.close()

    assert (lost, logged) == ([], [])
    assert len(await rows(catalog_database)) == 1


async def test_what_somebody_was_shown_is_told_by_user_or_visitor_newest_first(
    catalog_database: Database,
) -> None:
    log = ExposureLog(catalog_database)
    mug, tea = (ExposedItem("mug", "ease"),), (ExposedItem("tea", "ease"),)
    log.record(replace(EXPOSURE, time=1, items=mug, user_id="ann"))
    log.record(replace(EXPOSURE, time=2, items=tea, user_id=None, visitor_id="v1"))
    log.record(replace(EXPOSURE, time=3, items=mug, user_id="ben"))
    log.record(replace(EXPOSURE, time=4, items=mug, shop="other", user_id="ann"))
    await log.close()

    async def told(user_id: str | None, visitor_id: str | None, since: int) -> list[tuple[int, str]]:
        async with catalog_database.read() as connection:
            return await exposed_items(
                connection=connection, shop="default", user_id=user_id, visitor_id=visitor_id, since=since
            )

    assert await told("ann", "v1", 0) == [(2, "tea"), (1, "mug")]
    assert await told("ann", "v1", 2) == [(2, "tea")]
    assert await told("ann", None, 0) == [(1, "mug")]
    assert await told(None, None, 0) == []


async def test_exposures_outlast_a_database_that_is_busy_for_a_while(
    catalog_database: Database,
    deleting_elsewhere: Callable[[], AbstractAsyncContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposure_log, "RETRIES", (0.05, 0.05))
    lost: list[int] = []
    log = ExposureLog(catalog_database, on_lost=lost.append)
    async with deleting_elsewhere():
        log.record(EXPOSURE)
        await asyncio.sleep(0.3)  # longer than a write waits for others: 0.2 seconds
    await log.close()

    assert lost == []
    assert await counted(catalog_database) == [["mug", "cup", "kettle"]]


async def test_exposures_that_the_database_refuses_to_the_end_are_counted_and_logged(
    catalog_database: Database,
    deleting_elsewhere: Callable[[], AbstractAsyncContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposure_log, "RETRIES", (0.01,))
    lost: list[int] = []
    log = ExposureLog(catalog_database, on_lost=lost.append)
    with capture_logs() as logged:
        async with deleting_elsewhere():
            log.record(EXPOSURE)
            log.record(replace(EXPOSURE, request_id="r2"))
            await log.close()

    assert sum(lost) == 2
    (line,) = [line for line in logged if line["event"] == "exposures lost"]
    assert (line["exposures"], line["log_level"]) == (2, "error")
    assert "try again" in line["cause"]

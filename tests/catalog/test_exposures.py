"""Exposures: written off the request path, and counted when they cannot be."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import select

from endcap.catalog.database import Database
from endcap.catalog.exposures import Degradation, ExposedItem, Exposure, ExposureLog, exposed_items
from endcap.catalog.tables import EXPOSURES


EXPOSURE = Exposure(
    shop="default",
    request_id="r1",
    time=5,
    placement="home",
    view="default@2",
    bundles={"ease": "7"},
    items=(ExposedItem("mug", "ease", "ease@7", -0.5), ExposedItem("kettle", "popular")),
    user_id="ann",
    degraded=(Degradation("ease", "timed_out"),),
)


async def test_exposures_are_written_by_the_time_the_log_closes(catalog_database: Database) -> None:
    log = ExposureLog(catalog_database)

    log.record(EXPOSURE)
    log.record(EXPOSURE)
    await log.close()

    async with catalog_database.read() as connection:
        rows = (await connection.execute(select(EXPOSURES))).mappings().all()
    assert [row["sequence"] for row in rows] == [1, 2]
    assert rows[0]["bundles"] == {"ease": "7"}
    assert rows[0]["items"] == [
        {"item_id": "mug", "strategy": "ease", "bundle": "ease@7", "log_propensity": -0.5},
        {"item_id": "kettle", "strategy": "popular", "bundle": "", "log_propensity": None},
    ]
    assert rows[0]["degraded"] == [{"strategy": "ease", "cause": "timed_out"}]


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

    async def shown(user_id: str | None, visitor_id: str | None, since: int) -> list[tuple[int, str]]:
        async with catalog_database.read() as connection:
            return await exposed_items(
                connection=connection, shop="default", user_id=user_id, visitor_id=visitor_id, since=since
            )

    assert await shown("ann", "v1", 0) == [(2, "tea"), (1, "mug")]
    assert await shown("ann", "v1", 2) == [(2, "tea")]
    assert await shown("ann", None, 0) == [(1, "mug")]
    assert await shown(None, None, 0) == []


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
async def test_exposures_that_the_database_refuses_are_counted(
    catalog_database: Database, catalog_url: str
) -> None:
    lost: list[int] = []
    log = ExposureLog(catalog_database, on_lost=lost.append)
    with closing(sqlite3.connect(catalog_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.record(EXPOSURE)
        await log.close()

    assert lost == [1]

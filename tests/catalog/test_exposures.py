"""Exposures: written off the request path, and counted when they cannot be."""

import sqlite3
from contextlib import closing

from sqlalchemy import select

from endcap.catalog.database import Database
from endcap.catalog.exposures import Degradation, ExposedItem, Exposure, ExposureLog
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


async def test_exposures_that_the_database_refuses_are_counted(
    catalog_database: Database, catalog_url: str
) -> None:
    log = ExposureLog(catalog_database)
    with closing(sqlite3.connect(catalog_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.record(EXPOSURE)
        await log.close()

    assert log.dropped == 1

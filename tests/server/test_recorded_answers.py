"""What is recorded of answers, through the real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import select

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.tables import EXPOSURES, PLACEMENTS, SHOPS
from endcap.catalog.events.exposures import unit_digest
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.placement_pb2 import Placement
from endcap.v1.placement_service_pb2 import UpdatePlacementRequest


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A shop of twenty items."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        items = [Item(f"item-{number:02}", title=f"Mug {number}") for number in range(20)]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    yield database
    await database.close()


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    settings = Settings(
        address="127.0.0.1:0", database_url=f"sqlite:///{tmp_path / 'endcap.db'}", drain_seconds=0.1
    )
    application = Application(settings)
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def exposures(database: Database, count: int) -> list[dict[str, Any]]:
    """Return the exposures once there are so many, and no more a moment later."""
    for _ in range(100):
        await asyncio.sleep(0.05)
        async with database.read() as connection:
            found = await connection.execute(select(EXPOSURES).order_by(EXPOSURES.c.time, EXPOSURES.c.page))
            rows = [dict(row) for row in found.mappings()]
        if len(rows) >= count:
            break
    assert len(rows) == count
    return rows


async def test_an_exposure_says_who_was_shown_what_and_how_it_came_about(
    client: AsyncClient, database: Database
) -> None:
    answer = await client.recommend(
        "search",
        user_id="ann",
        visitor_id="phone",
        query="mug",
        language_code="de-CH",
        context={"device": "tablet", "category": "kitchen"},
        page_size=3,
        request_id="r1",
    )

    (row,) = await exposures(database, 1)
    async with database.read() as connection:
        key = (await connection.execute(select(SHOPS.c.token_key))).scalar_one()
        changed = select(PLACEMENTS.c.revision).where(PLACEMENTS.c.id == "search")
        revision = (await connection.execute(changed)).scalar_one()
    assert row["item_ids"] == [result.item_id for result in answer.results]
    assert row["sources"] == [["search", "", 3]]
    assert (row["request_id"], row["placement"], row["page"]) == ("r1", "search", 0)
    assert (row["user_id"], row["visitor_id"]) == ("ann", "phone")
    assert row["unit"] == unit_digest(key, "ann", None)
    assert (row["query"], row["language"], row["device"]) == ("mug", "de-CH", "tablet")
    assert (row["configuration"], row["view"]) == (revision, answer.view)
    assert (row["log_propensities"], row["assignments"], row["superseded"]) == ([], [], False)
    assert len(row["candidates"]) == 8


async def test_a_call_that_a_client_repeats_leaves_one_exposure_and_its_pages_one_each(
    client: AsyncClient, database: Database
) -> None:
    first = await client.recommend("home", visitor_id="eve", page_size=4, request_id="r1")
    await client.recommend("home", visitor_id="eve", page_size=4, request_id="r1")
    await client.recommend(
        "home", visitor_id="eve", page_size=4, request_id="r1", page_token=first.next_page_token
    )
    await client.recommend("home", visitor_id="adam", page_size=4, request_id="r1")

    rows = await exposures(database, 3)
    assert [(row["visitor_id"], row["page"]) for row in rows] == [("eve", 0), ("eve", 4), ("adam", 0)]
    assert not any(row["superseded"] for row in rows)


async def test_a_call_that_is_answered_anew_supersedes_what_was_shown_before(
    client: AsyncClient, database: Database
) -> None:
    await client.recommend("home", visitor_id="eve", page_size=4, request_id="r1")
    await client.recommend("home", visitor_id="eve", page_size=2, request_id="r1")

    rows = await exposures(database, 2)
    assert [(len(row["item_ids"]), row["superseded"]) for row in rows] == [(4, True), (2, False)]


async def test_a_changed_placement_is_another_configuration(client: AsyncClient, database: Database) -> None:
    await client.recommend("home", visitor_id="eve", request_id="before")
    await client.placements.UpdatePlacement(
        UpdatePlacementRequest(
            placement=Placement(id="home", page_size=5), update_mask=FieldMask(paths=["page_size"])
        )
    )
    await client.recommend("home", visitor_id="eve", request_id="after")

    before, after = await exposures(database, 2)
    assert before["configuration"] < after["configuration"]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("user_id", "the character NUL"),
        ("visitor_id", "the character NUL"),
        ("request_id", "control characters"),
        ("query", "the character NUL"),
        ("language_code", "must be a BCP 47 tag"),
        ("context", "the character NUL"),
    ],
)
async def test_a_text_that_no_database_can_hold_is_rejected_and_costs_no_exposure(
    client: AsyncClient, database: Database, field: str, reason: str
) -> None:
    value: Any = {"device": "a\0b"} if field == "context" else "a\0b"

    with pytest.raises(grpc.aio.AioRpcError, match=reason) as refused:
        await client.recommend("home", **{field: value})

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

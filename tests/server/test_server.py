"""The whole server, real, in process: what a client sees."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_folder
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import BatchGetItemsRequest
from endcap.v1.event_pb2 import Event
from endcap.v1.trace_pb2 import RUNG_OUTCOME_SKIPPED


NOW = 1_700_000_000_000
DAY = 86_400_000


async def _database(folder: Path, purchases: list[tuple[str, str, int]]) -> str:
    url = f"sqlite:///{folder / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    if purchases:
        shop = folder / "import"
        shop.mkdir()
        item_ids = ["kettle", "mug", "teapot"]
        pl.DataFrame(
            {"item_id": item_ids, "title": ["Kettle", "Mug", "Teapot"], "price": [30.0, 4.5, None]}
        ).write_parquet(shop / "items.parquet")
        pl.DataFrame(
            purchases, schema={"user_id": pl.String, "item_id": pl.String, "time": pl.Int64}, orient="row"
        ).with_columns(type=pl.lit("purchase")).write_parquet(shop / "events.parquet")
        await import_folder(database, "default", shop, now=NOW, currency="GBP")
    await database.close()
    return url


PURCHASES = [("anna", "kettle", NOW - DAY), ("ben", "kettle", NOW), ("ben", "mug", NOW)]


@pytest.fixture
async def shop_client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of a server whose shop sold two kettles and a mug."""
    async for client in _serving(await _database(tmp_path, PURCHASES)):
        yield client


@pytest.fixture
async def empty_client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of a server whose shop has no item."""
    async for client in _serving(await _database(tmp_path, [])):
        yield client


async def _serving(url: str) -> AsyncIterator[AsyncClient]:
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def test_a_shop_without_models_is_not_degraded_and_the_trace_says_what_was_skipped(
    shop_client: AsyncClient,
) -> None:
    answer = await shop_client.recommend("home", user_id="nobody-yet", include_trace=True)

    assert not answer.degraded
    assert list(answer.degradations) == []
    skipped = [(each.strategy, each.outcome) for each in answer.trace.rungs]
    assert skipped[:2] == [("hybrid", RUNG_OUTCOME_SKIPPED), ("ease", RUNG_OUTCOME_SKIPPED)]
    assert "make one with 'endcap train ease' and activate it" in answer.trace.rungs[1].detail
    assert {result.strategy for result in answer.results} == {"cold_start"}
    assert [result.item_id for result in answer.results][:2] == ["kettle", "mug"]
    assert answer.attribution_token


async def test_a_purchased_item_is_not_recommended_again(shop_client: AsyncClient) -> None:
    answer = await shop_client.recommend("home", user_id="anna")

    assert "kettle" not in {result.item_id for result in answer.results}


async def test_a_recorded_event_is_seen_by_the_next_call(shop_client: AsyncClient) -> None:
    before = await shop_client.recommend("recently-viewed", visitor_id="eve")

    recorded = await shop_client.record_events([Event(type="view", visitor_id="eve", item_id="teapot")])
    after = await shop_client.recommend(
        "recently-viewed", visitor_id="eve", minimum_revision=recorded.revision
    )

    assert list(before.results) == []
    assert [result.item_id for result in after.results] == ["teapot"]
    assert recorded.accepted_count == 1
    assert not after.degraded


async def test_the_same_event_twice_is_one_event_and_another_one_of_its_id_is_rejected(
    shop_client: AsyncClient,
) -> None:
    view = Event(event_id="e1", type="view", visitor_id="eve", item_id="mug")
    other = Event(event_id="e1", type="view", visitor_id="eve", item_id="kettle")
    await shop_client.record_events([view])

    again = await shop_client.record_events([view, other])

    assert (again.accepted_count, again.duplicate_count) == (0, 1)
    assert [(rejection.index, rejection.field) for rejection in again.rejections] == [(1, "event_id")]


async def test_a_bad_event_rejects_itself_alone(shop_client: AsyncClient) -> None:
    future = Event(type="view", visitor_id="eve", item_id="mug")
    future.time.FromMilliseconds(int(time.time() * 1000) + DAY)
    good = Event(type="view", visitor_id="eve", item_id="mug")

    recorded = await shop_client.record_events([future, good, Event(type="view", visitor_id="eve")])

    assert recorded.accepted_count == 1
    assert [rejection.field for rejection in recorded.rejections] == ["time", "item_id"]


async def test_unknown_items_come_back_and_are_no_error(shop_client: AsyncClient) -> None:
    answer = await shop_client.recommend("product", item_ids=["kettle", "unheard-of"])

    assert list(answer.missing_item_ids) == ["unheard-of"]
    assert "kettle" not in {result.item_id for result in answer.results}


async def test_a_given_list_is_put_in_order_whole(shop_client: AsyncClient) -> None:
    answer = await shop_client.recommend("rank", candidate_item_ids=["teapot", "mug", "kettle"])

    assert [result.item_id for result in answer.results] == ["kettle", "mug", "teapot"]


async def test_an_empty_catalog_gives_an_empty_answer(empty_client: AsyncClient) -> None:
    answer = await empty_client.recommend("home", user_id="anna", include_trace=True)

    assert list(answer.results) == []
    assert answer.trace.eligible_count == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"exclude_item_ids": ["x"] * 1001}, "exclude_item_ids"),
        ({"candidate_item_ids": ["mug"]}, "candidate_item_ids"),
    ],
)
async def test_a_wrong_request_is_rejected_with_the_field_named(
    shop_client: AsyncClient, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await shop_client.recommend("home", **fields)

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (rejected.value.details() or "")


async def test_an_unknown_placement_or_shop_is_not_found(shop_client: AsyncClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await shop_client.recommend("attic")

    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND


async def test_items_come_with_their_prices_and_missing_ones_by_id(shop_client: AsyncClient) -> None:
    found = await shop_client.catalog.BatchGetItems(BatchGetItemsRequest(item_ids=["mug", "unheard-of"]))

    assert [(item.title, item.price.units, item.price.nanos) for item in found.items] == [
        ("Mug", 4, 500_000_000)
    ]
    assert list(found.missing_item_ids) == ["unheard-of"]


@pytest.mark.parametrize("readme", ["README.md", "protos/README.md"])
async def test_the_python_of_a_readme_runs_against_a_server(tmp_path: Path, readme: str) -> None:
    settings = Settings(address="127.0.0.1:0", database_url=await _database(tmp_path, PURCHASES))
    application = Application(settings)
    await application.start()
    text = (Path(__file__).parents[2] / readme).read_text(encoding="utf-8")
    program = "\n".join(block.split("```")[0] for block in text.split("```python\n")[1:])
    program = re.sub(r"(127\.0\.0\.1|localhost):50051", f"127.0.0.1:{application.port}", program)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    await application.stop()

    assert process.returncode == 0
    assert b"Kettle" in printed

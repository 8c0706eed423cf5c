"""What an answer shows, leaves out and names, through the real server."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import (
    BatchUpsertItemsRequest,
    BatchUpsertUsersRequest,
    DeleteItemRequest,
    ListItemsRequest,
)
from endcap.v1.event_pb2 import Event
from endcap.v1.item_pb2 import Item as StoredItem
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_MODEL_MISSING
from endcap.v1.recommendation_service_pb2 import RecommendResponse
from endcap.v1.trace_pb2 import RUNG_OUTCOME_FAILED, RUNG_OUTCOME_SKIPPED
from endcap.v1.user_pb2 import User


NOW = 1_700_000_000_000
EURO = 1_000_000_000

ITEMS = [
    Item("kettle", title="Kettle", price_nanos=30 * EURO),
    Item("mug", title="Mug", price_nanos=8 * EURO, currency="EUR"),
    Item("teapot", title="Teapot", price_nanos=20 * EURO, currency="GBP"),
    Item("spoon", title="Spoon", availability=Availability.OUT_OF_STOCK),
]
"""Of a shop that sells in euros; nobody bought any."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="EUR")
        await upsert_items(connection=connection, shop="default", items=ITEMS, now=NOW)
    await database.close()
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, refresh_seconds=600)
    )
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("currency = EUR", {"kettle", "mug"}),
        ("currency = GBP", {"teapot"}),
        ("currency != EUR", {"teapot"}),
        ("NOT currency = GBP", {"kettle", "mug"}),
    ],
)
async def test_a_filter_by_currency_answers_alike_in_lists_and_in_recommendations(
    client: AsyncClient, condition: str, ids: set[str]
) -> None:
    condition += " AND available = true"

    answer = await client.recommend("home", filter=condition)
    listed = await client.catalog.ListItems(ListItemsRequest(filter=condition))

    assert {result.item_id for result in answer.results} == ids
    assert {item.id for item in listed.items} == ids


async def test_a_deleted_item_is_missing_and_no_reason_names_it(
    model_server: tuple[Settings, int], make_bundle: Callable[..., Path]
) -> None:
    settings, port = model_server
    bundle = make_bundle(settings.bundle_store, [f"item-{number}" for number in range(20)]).name
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        await client.models.RegisterBundle(RegisterBundleRequest(path=f"ease/{bundle}"), timeout=30)
        await client.models.ActivateBundle(ActivateBundleRequest(model="ease", version=bundle), timeout=30)
        await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")])
        before = await client.recommend("home", visitor_id="eve", include_reasons=True, deadline=30)
        await client.catalog.DeleteItem(DeleteItemRequest(item_id="item-3"))

        after = await client.recommend("home", visitor_id="eve", include_reasons=True, deadline=30)
        beside = await client.recommend("product", item_ids=["item-3", "item-4"], deadline=30)

    assert "item-3" in named_by(before)
    assert named_by(after) == set()
    assert beside.missing_item_ids == ["item-3"]


async def test_the_trace_says_why_candidates_of_the_caller_are_not_in_the_answer(client: AsyncClient) -> None:
    answer = await client.recommend(
        "rank",
        candidate_item_ids=["kettle", "mug", "teapot", "spoon", "ladle"],
        exclude_item_ids=["mug"],
        filter="price > 5",
        include_trace=True,
    )

    assert [result.item_id for result in answer.results] == ["kettle"]
    assert [(each.item_id, each.cause) for each in answer.trace.dropped_items] == [
        ("spoon", "available"),
        ("teapot", "request"),  # whose price is in pounds, and cannot be compared
        ("mug", "excluded"),
    ]
    assert not any(each.HasField("rung") for each in answer.trace.dropped_items)
    assert answer.missing_item_ids == ["ladle"]


@pytest.mark.parametrize("code", ["not a lang!", "de_CH", "d", "english-", "de-CH\n"])
async def test_a_language_that_is_no_tag_is_rejected_with_an_example(client: AsyncClient, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommend("home", language_code=code)
    items = BatchUpsertItemsRequest(items=[StoredItem(id="cup", language_code=code)])
    users = BatchUpsertUsersRequest(users=[User(id="ann", language_code=code)])
    [item] = (await client.catalog.BatchUpsertItems(items)).rejections
    [user] = (await client.catalog.BatchUpsertUsers(users)).rejections

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for message in (str(rejected.value.details()), item.message, user.message):
        assert "language_code must be a BCP 47 tag, such as en-GB" in message
    await client.recommend("home", language_code="de-CH")


async def test_an_active_model_that_cannot_be_loaded_degrades_and_one_never_trained_does_not(
    model_server: tuple[Settings, int], make_bundle: Callable[..., Path]
) -> None:
    settings, port = model_server
    bundle = make_bundle(settings.bundle_store, [f"item-{number}" for number in range(20)]).name
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        await client.models.RegisterBundle(RegisterBundleRequest(path=f"ease/{bundle}"), timeout=30)
        await client.models.ActivateBundle(ActivateBundleRequest(model="ease", version=bundle), timeout=30)
    shutil.rmtree(settings.bundles_folder)
    restarted = Application(settings)
    await restarted.start()
    async with AsyncClient(f"127.0.0.1:{restarted.port}") as client:
        answer = await client.recommend("home", include_trace=True, deadline=30)
    await restarted.stop()

    assert [(each.strategy, each.cause) for each in answer.degradations] == [
        ("ease", DEGRADATION_CAUSE_MODEL_MISSING)
    ]
    assert [each.outcome for each in answer.trace.rungs[:2]] == [RUNG_OUTCOME_SKIPPED, RUNG_OUTCOME_FAILED]
    assert "'ease', whose active bundle cannot be loaded" in answer.trace.rungs[1].detail


def named_by(answer: RecommendResponse) -> set[str]:
    reasons = [reason for result in answer.results for reason in result.reasons]
    return {evidence.item_id for reason in reasons for evidence in reason.evidence}

"""Answers that carry fields of their items, through the real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.client import AsyncClient, Client
from endcap.sdk.errors import Unavailable
from endcap.server.app import Application
from endcap.server.recommending import lookups
from endcap.server.settings import Settings
from endcap.v1 import item_pb2
from endcap.v1.attribute_value_pb2 import AttributeValue
from endcap.v1.money_pb2 import Money
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_STORE_UNAVAILABLE
from endcap.v1.recommendation_service_pb2 import BatchRecommendRequest, RecommendRequest, RecommendResponse


NOW = 1_700_000_000_000

KETTLE = Item(
    "kettle",
    title="Kettle",
    description="Boils a litre.",
    language_code="en",
    localized_texts={"de": {"title": "Wasserkocher"}, "fr-CH": {"title": "Bouilloire"}},
    categories=("Kitchen", "Appliances"),
    brand="Nord",
    tags=("new",),
    attributes={"colour": "blue", "litres": 1.5, "cordless": True},
    price_nanos=19_990_000_000,
    original_price_nanos=25_000_000_000,
    cost_nanos=7_000_000_000,
    image_uris=("https://shop.example/kettle.jpg", "https://shop.example/kettle-2.jpg"),
    availability=Availability.PREORDER,
    group_id="kettles",
    created_time=NOW,
)
MUG = Item("mug", title="Mug", price_nanos=4_500_000_000, currency="USD", created_time=NOW)


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="EUR")
        await upsert_items(connection=connection, shop="default", items=[KETTLE, MUG], now=NOW)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    yield f"127.0.0.1:{application.port}"
    await application.stop()


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


async def kettle(client: AsyncClient, *paths: str, language_code: str = "") -> item_pb2.Item:
    """Return what an answer says of the kettle."""
    answer = await client.recommend("home", item_fields=paths, language_code=language_code)
    return next(result.item for result in answer.results if result.item_id == "kettle")


async def test_the_fields_asked_for_come_with_each_item_and_no_others(client: AsyncClient) -> None:
    answer = await client.recommend("home", item_fields=["title", "price", "image_uris"])

    assert {result.item_id: result.item for result in answer.results} == {
        "kettle": item_pb2.Item(
            title="Kettle",
            price=Money(units=19, nanos=990_000_000, currency_code="EUR"),
            image_uris=KETTLE.image_uris,
        ),
        "mug": item_pb2.Item(title="Mug", price=Money(units=4, nanos=500_000_000, currency_code="USD")),
    }


async def test_without_item_fields_results_carry_no_item_and_the_database_is_not_asked(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(**_arguments: object) -> None:
        pytest.fail("the database was asked for items")

    monkeypatch.setattr(lookups, "get_items", asked)

    answer = await client.recommend("home")

    assert [result.HasField("item") for result in answer.results] == [False, False]


async def test_every_field_may_be_asked_for_but_those_that_answers_withhold(client: AsyncClient) -> None:
    withheld = {"id", "cost", "etag", "localized_texts"}
    names = [field.name for field in item_pb2.Item.DESCRIPTOR.fields if field.name not in withheld]

    item = await kettle(client, *names)

    assert {field.name for field, _ in item.ListFields()} == {
        *names,
    } - {"available_time", "expire_time"}  # the kettle has neither
    assert item.categories == ["Kitchen", "Appliances"]  # the main one first
    assert item.availability == item_pb2.AVAILABILITY_PREORDER
    assert not item.HasField("cost")


@pytest.mark.parametrize("path", ["cost", "etag", "id", "localized_texts", "colour", "price.units", "*", ""])
async def test_a_field_that_answers_do_not_carry_is_an_error_that_names_the_mask(
    client: AsyncClient, path: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommend("home", item_fields=["title", path])

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (rejected.value.details() or "").startswith("item_fields has a path that is not among ")


async def test_too_many_paths_are_an_error(client: AsyncClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommend("home", item_fields=["title"] * 257)

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "item_fields" in (rejected.value.details() or "")


async def test_single_attributes_are_chosen_by_name(client: AsyncClient) -> None:
    chosen = await kettle(client, "attributes.litres", "attributes.cordless", "attributes.unheard_of")
    all_of_them = await kettle(client, "attributes", "attributes.litres")

    assert dict(chosen.attributes) == {
        "litres": AttributeValue(number=1.5),
        "cordless": AttributeValue(boolean=True),
    }
    assert set(all_of_them.attributes) == {"colour", "litres", "cordless"}


@pytest.mark.parametrize(
    ("language", "title", "code"),
    [
        ("", "Kettle", "en"),
        ("en", "Kettle", "en"),
        ("de", "Wasserkocher", "de"),
        ("de-CH", "Wasserkocher", "de"),
        ("DE-ch", "Wasserkocher", "de"),
        ("fr-CH", "Bouilloire", "fr-CH"),
        ("fr", "Kettle", "en"),
        ("it", "Kettle", "en"),
    ],
)
async def test_titles_are_in_the_language_of_the_request_where_the_item_has_it(
    client: AsyncClient, language: str, title: str, code: str
) -> None:
    item = await kettle(client, "title", "language_code", "description", language_code=language)

    assert (item.title, item.language_code) == (title, code)
    assert item.description == "Boils a litre."  # it is in one language only


async def test_without_the_database_items_are_told_from_memory_and_the_answer_says_so(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(**_arguments: object) -> None:
        raise Unavailable("the database is gone")

    monkeypatch.setattr(lookups, "get_items", unavailable)

    answer = await client.recommend(
        "home",
        item_fields=["title", "price", "original_price", "brand", "availability", "image_uris"],
        language_code="de",
    )

    items = {result.item_id: result.item for result in answer.results}
    assert items["kettle"] == item_pb2.Item(
        title="Kettle",
        price=Money(units=19, nanos=990_000_000, currency_code="EUR"),
        original_price=Money(units=25, currency_code="EUR"),
        brand="Nord",
        availability=item_pb2.AVAILABILITY_PREORDER,
    )
    assert not items["mug"].HasField("price")  # it is in another currency than the shop's
    assert DEGRADATION_CAUSE_STORE_UNAVAILABLE in {part.cause for part in answer.degradations}


async def test_pages_may_carry_different_fields(client: AsyncClient) -> None:
    first = await client.recommend("home", page_size=1, item_fields=["title"])
    second = await client.recommend(
        "home", page_size=1, page_token=first.next_page_token, item_fields=["brand", "tags"]
    )

    assert [result.item_id for result in (*first.results, *second.results)] == ["kettle", "mug"]
    assert first.results[0].item == item_pb2.Item(title="Kettle")
    assert second.results[0].item == item_pb2.Item()
    assert second.results[0].HasField("item")


async def test_requests_of_a_batch_carry_fields_each_its_own(client: AsyncClient) -> None:
    requests = [
        RecommendRequest(placement="home", item_fields=FieldMask(paths=["brand"])),
        RecommendRequest(placement="home", item_fields=FieldMask(paths=["cost"])),
        RecommendRequest(placement="home"),
    ]

    batch = await client.recommendations.BatchRecommend(BatchRecommendRequest(requests=requests))

    branded, rejected, plain = batch.outcomes
    assert branded.response.results[0].item == item_pb2.Item(brand="Nord")
    assert (rejected.error.code, rejected.error.field) == (3, "item_fields")
    assert not plain.response.results[0].HasField("item")


async def test_the_blocking_client_takes_the_fields_as_a_list(address: str) -> None:
    def ask() -> RecommendResponse:
        with Client(address) as client:
            return client.recommend("home", page_size=1, item_fields=["title"])

    answer = await asyncio.to_thread(ask)

    assert answer.results[0].item.title == "Kettle"

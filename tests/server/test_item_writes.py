"""Items, written and listed over the wire of a real server, in process."""

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.database.engine import open_database
from endcap.catalog.fields.limits import LIMITS
from endcap.catalog.items.items import Item as StoredItem
from endcap.catalog.items.items import get_items, upsert_items
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import (
    BatchGetItemsRequest,
    BatchUpsertItemsRequest,
    BatchUpsertItemsResponse,
    DeleteItemRequest,
    GetItemRequest,
    ImportItemsRequest,
    ListItemsRequest,
)
from endcap.v1.item_pb2 import AVAILABILITY_OUT_OF_STOCK, Item


NOW = 1_700_000_000_000
KETTLE: dict[str, Any] = {
    "id": "kettle",
    "group_id": "kettles",
    "title": "Kettle",
    "description": "Boils.\nWhistles.",
    "language_code": "en-GB",
    "localized_texts": {"de": {"title": "Kessel", "description": "Kocht."}, "fr": {"title": "Bouilloire"}},
    "categories": ["Home", "Home > Kitchen"],
    "brand": "Acme",
    "tags": ["new", "steel"],
    "attributes": {
        "colour": {"text": "red"},
        "litres": {"number": 1.0},
        "electric": {"boolean": False},
        "since": {"time": "2023-11-14T22:13:20.123Z"},
        "plugs": {"texts": {"values": ["uk", "eu"]}},
    },
    "price": {"units": 19, "nanos": 990_000_000, "currency_code": "GBP"},
    "original_price": {"units": 25, "currency_code": "GBP"},
    "cost": {"units": 7, "currency_code": "GBP"},
    "image_uris": ["https://shop.example/kettle.jpg", "s3://bucket/kettle.png"],
    "availability": "AVAILABILITY_PREORDER",
    "available_time": "2023-01-01T00:00:00Z",
    "expire_time": "2093-01-01T00:00:00Z",
    "create_time": "2022-01-01T00:00:00Z",
}


def kettle(**fields: Any) -> Item:
    return ParseDict({**KETTLE, **fields}, Item())


async def upsert(
    client: AsyncClient, *items: Item, paths: Iterable[str] | None = None, **options: Any
) -> BatchUpsertItemsResponse:
    request = BatchUpsertItemsRequest(items=items, **options)
    if paths is not None:
        request.update_mask.CopyFrom(FieldMask(paths=list(paths)))
    response: BatchUpsertItemsResponse = await client.catalog.BatchUpsertItems(request)
    return response


async def get(client: AsyncClient, item_id: str) -> Item:
    return (await client.catalog.GetItem(GetItemRequest(item_id=item_id))).item


async def test_an_item_comes_back_as_it_was_written_but_for_its_cost(
    client: AsyncClient, settings: Settings
) -> None:
    response = await upsert(client, kettle(etag=""), request_id="first")
    item = await get(client, "kettle")
    batch = await client.catalog.BatchGetItems(BatchGetItemsRequest(item_ids=["kettle", "mug", "kettle"]))

    assert (response.upserted_count, response.revision, response.request_id) == (1, 2, "first")
    assert (list(batch.items), list(batch.missing_item_ids)) == ([item], ["mug"])
    assert item.etag == "2"
    assert item.update_time.seconds >= int(time.time()) - 60
    expected = kettle()
    expected.ClearField("cost")
    for output in ("etag", "update_time"):
        item.ClearField(output)
    assert item == expected
    database = await open_database(settings.database_url)
    async with database.read() as connection:
        stored = await get_items(connection=connection, shop="default", item_ids=["kettle"])
    await database.close()
    assert stored["kettle"].cost_nanos == 7_000_000_000


async def test_what_was_written_and_deleted_shows_in_the_next_answer(client: AsyncClient) -> None:
    await upsert(client, Item(id="mug", title="Mug"), Item(id="pot", title="Pot"))
    both = {result.item_id for result in (await client.recommend("home")).results}
    await upsert(client, Item(id="pot", title="Pot", availability=AVAILABILITY_OUT_OF_STOCK))
    sold_out = {result.item_id for result in (await client.recommend("home")).results}
    await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug"))
    deleted = {result.item_id for result in (await client.recommend("home")).results}

    assert (both, sold_out, deleted) == ({"mug", "pot"}, {"mug"}, set())


async def test_an_item_written_without_a_mask_loses_what_it_does_not_name(client: AsyncClient) -> None:
    await upsert(client, kettle())
    await upsert(client, Item(id="kettle", title="Pot"))
    item = await get(client, "kettle")

    assert (item.title, item.brand, list(item.tags), item.HasField("price")) == ("Pot", "", [], False)
    assert item.create_time == kettle().create_time


async def test_a_mask_writes_what_it_names_and_nothing_else(client: AsyncClient) -> None:
    await upsert(client, kettle())
    change = ParseDict(
        {
            "id": "kettle",
            "title": "not named",
            "price": {"units": 15, "currency_code": "GBP"},
            "attributes": {"colour": {"text": "blue"}, "litres": {"number": 9}},
            "localized_texts": {"es": {"title": "Tetera"}},
        },
        Item(),
    )
    paths = [
        "price",
        "brand",
        "attributes.colour",
        "attributes.plugs",
        "localized_texts.es",
        "localized_texts.fr",
    ]
    await upsert(client, change, paths=[*paths, "id", "etag", "update_time"])
    item = await get(client, "kettle")

    assert (item.title, item.price.units, item.brand) == ("Kettle", 15, "")
    assert item.attributes["colour"].text == "blue"
    assert item.attributes["litres"].number == 1
    assert set(item.attributes) == {"colour", "litres", "electric", "since"}
    assert {language: texts.title for language, texts in item.localized_texts.items()} == {
        "de": "Kessel",
        "es": "Tetera",
    }


async def test_a_mask_creates_an_item_with_the_fields_it_names(client: AsyncClient) -> None:
    await upsert(client, kettle(), paths=["title", "attributes.colour"])
    item = await get(client, "kettle")

    assert (item.title, set(item.attributes), item.description) == ("Kettle", {"colour"}, "")


@pytest.mark.parametrize("path", ["prize", "price.units", "attributes.", "title.x", ""])
async def test_a_path_that_no_item_has_is_rejected_and_nothing_is_stored(
    client: AsyncClient, path: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await upsert(client, kettle(), paths=["title", path])

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError):
        await get(client, "kettle")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"id": ""}, "INVALID_ID", "id"),
        ({"id": "a\n"}, "INVALID_ID", "id"),
        ({"id": "x" * 129}, "LIMIT_EXCEEDED", "id"),
        ({"title": "x" * 1_025}, "LIMIT_EXCEEDED", "title"),
        ({"title": "x\0"}, "INVALID_VALUE", "title"),
        ({"description": "x" * 16_385}, "LIMIT_EXCEEDED", "description"),
        ({"language_code": "english!"}, "INVALID_VALUE", "language_code"),
        (
            {"localized_texts": {f"x{n:02}" + "abc"[n % 3]: {} for n in range(33)}},
            "LIMIT_EXCEEDED",
            "localized_texts",
        ),
        ({"localized_texts": {"?": {}}}, "INVALID_VALUE", "localized_texts"),
        (
            {"localized_texts": {"de": {"title": "x" * 1_025}}},
            "LIMIT_EXCEEDED",
            "localized_texts.de.title",
        ),
        ({"categories": ["x"] * 65}, "LIMIT_EXCEEDED", "categories"),
        ({"categories": ["x", "x" * 129]}, "LIMIT_EXCEEDED", "categories[1]"),
        ({"tags": [""]}, "INVALID_VALUE", "tags[0]"),
        ({"attributes": {f"a{n}": {"number": n} for n in range(129)}}, "LIMIT_EXCEEDED", "attributes"),
        ({"attributes": {"Size": {"number": 1}}}, "INVALID_VALUE", "attributes"),
        ({"attributes": {"size": {}}}, "INVALID_VALUE", "attributes.size"),
        ({"attributes": {"size": {"number": "NaN"}}}, "INVALID_VALUE", "attributes.size"),
        ({"attributes": {"size": {"text": "\0"}}}, "INVALID_VALUE", "attributes.size"),
        ({"attributes": {"size": {"text": "x" * 1_025}}}, "LIMIT_EXCEEDED", "attributes.size"),
        ({"price": {"units": -1, "currency_code": "GBP"}}, "INVALID_VALUE", "price"),
        ({"price": {"units": 1}}, "INVALID_VALUE", "price.currency_code"),
        ({"cost": {"units": 1, "currency_code": "EUR"}}, "INVALID_VALUE", "cost.currency_code"),
        ({"image_uris": ["ftp://shop.example/x"]}, "INVALID_VALUE", "image_uris[0]"),
        ({"image_uris": ["https://a/b c"]}, "INVALID_VALUE", "image_uris[0]"),
        ({"image_uris": ["https://a"] * 17}, "LIMIT_EXCEEDED", "image_uris"),
        ({"expire_time": KETTLE["available_time"]}, "INVALID_VALUE", "expire_time"),
        ({"create_time": "2999-01-01T00:00:00Z"}, "INVALID_VALUE", "create_time"),
        ({"etag": "1"}, "ETAG_MISMATCH", ""),
    ],
)
async def test_a_bad_item_rejects_itself_alone(
    client: AsyncClient, fields: dict[str, Any], reason: str, field: str
) -> None:
    response = await upsert(
        client, Item(id="mug", title="Mug"), kettle(**fields), Item(id="pot", title="Pot")
    )

    assert response.upserted_count == 2
    (rejection,) = response.rejections
    assert (rejection.index, rejection.reason, rejection.field) == (1, reason, field)
    assert rejection.id == kettle(**fields).id[:128]
    assert rejection.message
    assert [item.id for item in (await client.catalog.ListItems(ListItemsRequest())).items] == ["mug", "pot"]


async def test_an_invalid_time_is_rejected(client: AsyncClient) -> None:
    response = await upsert(client, Item(id="mug", expire_time=Timestamp(nanos=-1)))

    assert [(each.reason, each.field) for each in response.rejections] == [("INVALID_VALUE", "expire_time")]


async def test_a_new_item_needs_a_title_and_none_loses_its_own(client: AsyncClient) -> None:
    await upsert(client, kettle())
    new = await upsert(client, Item(id="mug", brand="Acme"), Item(id="pot", title="Pot"))
    priced = await upsert(client, Item(id="mug", brand="Acme"), paths=["brand"])
    blank = await upsert(client, Item(id="kettle", brand="Zenith"))
    kept = await upsert(client, Item(id="kettle", brand="Zenith"), paths=["brand"])

    for response in (new, priced, blank):
        assert [(each.reason, each.field) for each in response.rejections] == [("INVALID_VALUE", "title")]
    assert [response.upserted_count for response in (new, priced, blank, kept)] == [1, 0, 0, 1]
    item = await get(client, "kettle")
    assert (item.title, item.brand) == ("Kettle", "Zenith")


async def test_of_an_item_sent_twice_the_second_is_rejected(client: AsyncClient) -> None:
    response = await upsert(client, Item(id="mug", title="first"), Item(id="mug", title="second"))

    assert [(each.index, each.reason) for each in response.rejections] == [(1, "DUPLICATE")]
    assert (await get(client, "mug")).title == "first"


async def test_an_item_is_changed_and_deleted_only_in_the_state_that_was_read(client: AsyncClient) -> None:
    await upsert(client, Item(id="mug", title="Mug"), Item(id="pot", title="Pot"))
    read = (await get(client, "mug")).etag
    changed = await upsert(
        client, Item(id="mug", title="Mug", etag=read), Item(id="new", title="New", etag="7")
    )
    late = await upsert(client, Item(id="mug", title="late", etag=read))
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug", etag=read))
    await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug", etag=(await get(client, "mug")).etag))

    assert changed.upserted_count == 1
    assert [(each.id, each.reason) for each in changed.rejections] == [("new", "ETAG_MISMATCH")]
    assert [each.reason for each in late.rejections] == ["ETAG_MISMATCH"]
    assert late.revision == changed.revision
    assert rejected.value.code() is grpc.StatusCode.ABORTED
    missing = (await client.catalog.BatchGetItems(BatchGetItemsRequest(item_ids=["mug"]))).missing_item_ids
    assert list(missing) == ["mug"]


async def test_validating_stores_nothing(client: AsyncClient) -> None:
    response = await upsert(
        client,
        Item(id="mug", title="Mug"),
        Item(id=""),
        Item(id="pot", title="Pot", etag="1"),
        validate_only=True,
    )

    assert (response.upserted_count, [each.index for each in response.rejections]) == (1, [1, 2])
    assert response.revision == 1
    assert not (await client.catalog.ListItems(ListItemsRequest())).items


async def test_a_missing_item_is_deleted_only_where_that_is_allowed(client: AsyncClient) -> None:
    response = await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug", allow_missing=True))
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug"))

    assert response.revision == 1
    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
    assert rejected.value.details() == "item 'mug' does not exist; set allow_missing to ignore this"


async def test_a_batch_that_is_empty_or_too_large_is_rejected_whole(client: AsyncClient) -> None:
    for items in ([], [Item(id=str(number), title="X") for number in range(1_001)]):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await upsert(client, *items)
        assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    assert not (await client.catalog.ListItems(ListItemsRequest())).items


async def test_items_are_listed_in_pages_that_are_filtered_and_signed(client: AsyncClient) -> None:
    await upsert(client, *(Item(id=f"{number:02}", title="X", brand=f"{number % 2}") for number in range(25)))
    request = ListItemsRequest(page_size=5, filter='brand = "1"')
    pages: list[list[str]] = []
    while not pages or request.page_token:
        response = await client.catalog.ListItems(request)
        pages.append([item.id for item in response.items])
        request.page_token = response.next_page_token
    request.page_token = (await client.catalog.ListItems(request)).next_page_token
    request.filter = ""
    with pytest.raises(grpc.aio.AioRpcError) as another_list:
        await client.catalog.ListItems(request)
    with pytest.raises(grpc.aio.AioRpcError) as no_filter:
        await client.catalog.ListItems(ListItemsRequest(filter="brand ="))

    assert [len(page) for page in pages] == [5, 5, 2]
    assert [item_id for page in pages for item_id in page] == [f"{number:02}" for number in range(1, 25, 2)]
    assert another_list.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert no_filter.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len((await client.catalog.ListItems(ListItemsRequest())).items) == 10


async def test_a_list_is_filtered_as_answers_are_and_leaves_out_what_was_deleted(client: AsyncClient) -> None:
    await upsert(client, *(Item(id=item_id, title="Mug", brand="Acme") for item_id in "abcde"))
    await upsert(client, kettle(), Item(id="c", title="Jug", brand="Acme"))
    for item_id in "ad":
        await client.catalog.DeleteItem(DeleteItemRequest(item_id=item_id))

    async def listed(text: str, **options: Any) -> list[str]:
        response = await client.catalog.ListItems(ListItemsRequest(filter=text, **options))
        return [item.id for item in response.items]

    assert await listed("brand = Acme") == ["b", "c", "e", "kettle"]
    assert await listed("brand = Acme", page_size=2) == ["b", "c"]
    assert await listed("mug") == ["b", "e"]
    assert await listed("title:KETT AND tags:steel AND attributes.colour = red") == ["kettle"]
    assert await listed('id = ("a" OR "b")') == ["b"]


async def test_a_list_holds_what_another_process_has_just_written(
    client: AsyncClient, settings: Settings
) -> None:
    database = await open_database(settings.database_url)
    async with database.write() as connection:
        items = [StoredItem("mug", title="Mug", brand="Acme")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await database.close()

    response = await client.catalog.ListItems(ListItemsRequest(filter="brand = Acme"))

    assert [item.id for item in response.items] == ["mug"]


async def test_another_shop_has_none_of_the_items(client: AsyncClient, application: Application) -> None:
    await upsert(client, kettle())
    async with AsyncClient(f"127.0.0.1:{application.port}", Options(shop="another")) as other:
        listed = await other.catalog.ListItems(ListItemsRequest())
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await get(other, "kettle")
        deleted = await other.catalog.DeleteItem(DeleteItemRequest(item_id="kettle", allow_missing=True))

    assert not listed.items
    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
    assert "write it with BatchUpsertItems first" in str(rejected.value.details())
    assert deleted.revision == 1
    assert (await get(client, "kettle")).title == "Kettle"


async def test_a_stream_is_stored_message_by_message(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endcap.server.api.servicers.catalog_writes.MAX_REJECTIONS", 2)

    async def messages() -> AsyncIterator[ImportItemsRequest]:
        yield ImportItemsRequest(
            items=[Item(id="mug", title="Mug", brand="no"), Item(id="")],
            update_mask=FieldMask(paths=["title"]),
            request_id="import",
        )
        yield ImportItemsRequest()
        yield ImportItemsRequest(
            items=[Item(id="\n"), Item(id="mug", title="Cup"), Item(id="\t"), Item(id="pot", title="Pot")]
        )

    response = await client.catalog.ImportItems(messages())

    assert (response.upserted_count, response.rejected_count) == (3, 3)
    assert [(each.index, each.reason) for each in response.rejections] == [
        (1, "INVALID_ID"),
        (2, "INVALID_ID"),
    ]
    assert (response.revision, response.request_id) == (3, "import")
    assert ((await get(client, "mug")).title, (await get(client, "mug")).brand) == ("Cup", "")
    results = (await client.recommend("home", minimum_revision=response.revision)).results
    assert {result.item_id for result in results} == {"mug", "pot"}


async def test_what_came_before_a_bad_message_of_a_stream_is_kept(client: AsyncClient) -> None:
    async def messages() -> AsyncIterator[ImportItemsRequest]:
        yield ImportItemsRequest(items=[Item(id="mug", title="Mug")])
        yield ImportItemsRequest(
            items=[Item(id=str(number), title="X") for number in range(LIMITS["items"] + 1)]
        )

    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.catalog.ImportItems(messages())

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [item.id for item in (await client.catalog.ListItems(ListItemsRequest())).items] == ["mug"]


async def test_an_empty_stream_stores_nothing(client: AsyncClient) -> None:
    async def messages() -> AsyncIterator[ImportItemsRequest]:
        return
        yield

    response = await client.catalog.ImportItems(messages())

    assert (response.upserted_count, response.revision, bool(response.request_id)) == (0, 1, True)

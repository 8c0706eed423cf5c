"""ShopService: shops as an operator creates, changes and deletes them while the server runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from sqlalchemy import func, select

from endcap.catalog.database.engine import open_database
from endcap.catalog.database.tables import METADATA
from endcap.catalog.items.items import Item
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.models.files import bundle_path
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import BatchUpsertItemsRequest, ListItemsRequest
from endcap.v1.event_pb2 import Event
from endcap.v1.placement_service_pb2 import ListPlacementsRequest
from endcap.v1.shop_pb2 import (
    ATTRIBUTE_TYPE_NUMBER,
    ATTRIBUTE_TYPE_TEXT,
    EVENT_ROLE_OTHER,
    EVENT_ROLE_PURCHASE,
    EVENT_ROLE_REFUND,
    EVENT_VALUE_RULE_PRICE_TIMES_QUANTITY,
    AttributeDefinition,
    EventType,
    Shop,
)
from endcap.v1.shop_service_pb2 import (
    CreateShopRequest,
    DeleteShopRequest,
    GetShopRequest,
    ListShopsRequest,
    UpdateShopRequest,
)


@pytest.fixture
def stock() -> list[Item]:
    return [Item("mug", title="Mug"), Item("pot", title="Pot")]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"bundles_folder": tmp_path / "bundles"})


def of_shop(application: Application, shop: str) -> AsyncClient:
    """Return a client of one shop."""
    return AsyncClient(f"127.0.0.1:{application.port}", Options(shop=shop))


async def create(client: AsyncClient, **fields: Any) -> Shop:
    return (await client.shops.CreateShop(CreateShopRequest(shop=Shop(**fields)))).shop


async def update(client: AsyncClient, *paths: str, **fields: Any) -> Shop:
    mask = FieldMask(paths=paths) if paths else None
    request = UpdateShopRequest(shop=Shop(**fields), update_mask=mask)
    return (await client.shops.UpdateShop(request)).shop


async def get(client: AsyncClient, shop: str) -> Shop:
    return (await client.shops.GetShop(GetShopRequest(shop=shop))).shop


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status and the words of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), failed.value.details() or ""


async def test_a_shop_that_is_created_is_served_at_once(
    client: AsyncClient, application: Application
) -> None:
    created = await create(client, id="outlet", currency_code="EUR", language_codes=["de", "en"])

    async with of_shop(application, "outlet") as outlet:
        placements = await outlet.placements.ListPlacements(ListPlacementsRequest(page_size=100))
        item = ParseDict({"id": "cup", "title": "Cup"}, BatchUpsertItemsRequest().items.add())
        await outlet.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[item]))
        answer = await outlet.recommend("home", visitor_id="eve")

    assert [result.item_id for result in answer.results] == ["cup"]
    assert {"home", "search"} <= {placement.id for placement in placements.placements}
    assert {each.name: each.weight for each in created.event_types} == {
        "view": 1, "click": 1, "add_to_cart": 3, "purchase": 5, "rating": 5
    }  # fmt: skip
    assert (created.currency_code, list(created.language_codes)) == ("EUR", ["de", "en"])
    assert (created.max_event_age_days, created.keep_events_days) == (30, 0)


async def test_what_events_mean_follows_from_their_names_unless_the_shop_says_otherwise(
    client: AsyncClient,
) -> None:
    created = await create(
        client,
        id="outlet",
        event_types=[
            EventType(name="refund", weight=-5),
            EventType(name="order", weight=5, role=EVENT_ROLE_PURCHASE),
            EventType(name="wish", weight=1_000),
        ],
    )

    refund, order, wish = created.event_types
    assert (refund.weight, refund.role) == (-5, EVENT_ROLE_REFUND)
    assert refund.value_rule == EVENT_VALUE_RULE_PRICE_TIMES_QUANTITY
    assert (order.role, wish.role) == (EVENT_ROLE_PURCHASE, EVENT_ROLE_OTHER)


async def test_a_weight_below_zero_lowers_an_item(client: AsyncClient) -> None:
    await update(
        client,
        "event_types",
        id="default",
        event_types=[EventType(name="view", weight=1), EventType(name="return", weight=-3)],
    )
    await client.record_events(
        [
            Event(type="view", user_id="ann", item_id="mug"),
            Event(type="view", user_id="ann", item_id="pot"),
            Event(type="return", user_id="ann", item_id="mug"),
        ]
    )
    await update(client, "keep_exposures_days", id="default", keep_exposures_days=90)  # counts events anew

    answer = await client.recommend("rank", candidate_item_ids=["mug", "pot"])

    assert [result.item_id for result in answer.results] == ["pot", "mug"]


async def test_an_update_changes_what_its_mask_names_and_serves_with_it(client: AsyncClient) -> None:
    before = await get(client, "default")

    after = await update(
        client, "currency_code", "language_codes", id="default", currency_code="CHF", language_codes=["de"]
    )

    assert (after.currency_code, list(after.language_codes)) == ("CHF", ["de"])
    assert after.event_types == before.event_types
    assert after.etag != before.etag
    answer = await client.recommend("home", visitor_id="eve")
    assert answer.revision >= after.revision


async def test_an_update_without_a_mask_writes_everything(client: AsyncClient) -> None:
    await update(client, "keep_events_days", id="default", keep_events_days=90)

    after = await update(client, id="default", event_types=[EventType(name="view", weight=2)])

    assert (after.keep_events_days, after.currency_code, len(after.event_types)) == (0, "", 1)


async def test_an_etag_that_is_no_longer_current_changes_nothing(client: AsyncClient) -> None:
    before = await get(client, "default")
    await client.record_events(
        [Event(type="view", user_id="ann", item_id="mug")]
    )  # no change of the settings
    after = await update(client, "keep_events_days", id="default", keep_events_days=90, etag=before.etag)

    rejected = await failure(
        update(client, "keep_events_days", id="default", keep_events_days=60, etag=before.etag)
    )

    assert rejected == (
        grpc.StatusCode.ABORTED,
        "the etag is not current: somebody else has changed this object, read it again",
    )
    assert (await get(client, "default")).keep_events_days == after.keep_events_days == 90


async def test_what_is_only_checked_is_not_stored(client: AsyncClient) -> None:
    shop = Shop(id="outlet", currency_code="EUR")

    created = await client.shops.CreateShop(CreateShopRequest(shop=shop, validate_only=True))
    updated = await client.shops.UpdateShop(
        UpdateShopRequest(shop=Shop(id="default", currency_code="EUR"), validate_only=True)
    )

    assert (created.shop.currency_code, created.shop.revision, created.shop.etag) == ("EUR", 0, "")
    assert updated.shop.currency_code == "EUR"
    assert (await failure(get(client, "outlet")))[0] is grpc.StatusCode.NOT_FOUND
    assert (await get(client, "default")).currency_code == "GBP"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"currency_code": "pounds"}, "ISO 4217"),
        ({"language_codes": ["not a lang!"]}, "BCP 47"),
        ({"language_codes": ["de", "de"]}, "each language must be named once"),
        ({"event_types": [{"name": "view", "weight": 1000.5}]}, "from -1000 to 1000"),
        ({"event_types": [{"name": "view", "weight": -1000.5}]}, "from -1000 to 1000"),
        ({"event_types": [{"name": "view", "weight": "NaN"}]}, "from -1000 to 1000"),
        ({"event_types": [{"name": "Add to cart"}]}, "is not an event type"),
        ({"event_types": [{"name": "view"}, {"name": "view"}]}, "list each name once"),
        ({"event_types": [{"name": "view", "role": 99}]}, "must be one of"),
        ({"event_types": [{"name": f"t{number}"} for number in range(65)]}, "at most 64"),
        ({"attributes": [{"name": "size"}]}, "must be one of"),
        ({"attributes": [{"name": "Size", "type": 1}]}, "is not a name of an attribute"),
        ({"attributes": [{"name": "size", "type": 1}] * 2}, "list each name once"),
        ({"max_event_age_days": -1}, "from 1 to 36500"),
        ({"keep_events_days": 29}, "must not be less than max_event_age_days"),
        ({"keep_exposures_days": 36_501}, "from 0"),
    ],
)  # fmt: skip
async def test_a_setting_that_cannot_be_is_rejected_with_a_sentence(
    client: AsyncClient, fields: Mapping[str, Any], complaint: str
) -> None:
    before = await get(client, "default")

    new = ParseDict({"id": "outlet", **fields}, Shop())
    changed = ParseDict({"id": "default", **fields}, Shop())
    rejected = [
        await failure(client.shops.CreateShop(CreateShopRequest(shop=new))),
        await failure(client.shops.UpdateShop(UpdateShopRequest(shop=changed))),
    ]

    assert [code for code, _ in rejected] == [grpc.StatusCode.INVALID_ARGUMENT] * 2
    assert [complaint in words for _, words in rejected] == [True, True]
    assert await get(client, "default") == before


async def test_what_is_not_there_is_not_found_and_what_is_taken_is_rejected(client: AsyncClient) -> None:
    missing = [
        failure(get(client, "third")),
        failure(update(client, id="third")),
        failure(client.shops.DeleteShop(DeleteShopRequest(shop="third"))),
    ]

    assert [(await each)[0] for each in missing] == [grpc.StatusCode.NOT_FOUND] * 3
    await client.shops.DeleteShop(DeleteShopRequest(shop="third", allow_missing=True))
    assert (await failure(create(client, id="default")))[0] is grpc.StatusCode.ALREADY_EXISTS
    assert (await failure(create(client, id="")))[0] is grpc.StatusCode.INVALID_ARGUMENT
    unknown = await failure(update(client, "prize", id="default"))
    assert unknown[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_shops_are_listed_page_by_page(client: AsyncClient) -> None:
    first = await client.shops.ListShops(ListShopsRequest(page_size=1))
    second = await client.shops.ListShops(ListShopsRequest(page_size=1, page_token=first.next_page_token))

    assert [shop.id for page in (first, second) for shop in page.shops] == ["another", "default"]
    assert second.next_page_token == ""


async def test_a_shop_that_is_deleted_leaves_no_trace(
    client: AsyncClient, application: Application, settings: Settings
) -> None:
    files = settings.bundles_folder / bundle_path("another", "ease", "1")
    files.mkdir(parents=True)
    (files / "model.onnx").write_bytes(b"weights")
    async with of_shop(application, "another") as another:
        await another.record_events([Event(type="view", user_id="ann", item_id="mug")])
        await another.recommend("home", user_id="ann")
        await client.shops.DeleteShop(DeleteShopRequest(shop="another"))

        gone = await failure(another.recommend("home", user_id="ann"))
        events = await failure(another.record_events([Event(type="view", user_id="ann", item_id="mug")]))

    assert gone[0] is events[0] is grpc.StatusCode.NOT_FOUND
    assert (await failure(get(client, "another")))[0] is grpc.StatusCode.NOT_FOUND
    database = await open_database(settings.database_url)
    async with database.read() as connection:
        left = {
            table.name: (
                await connection.execute(
                    select(func.count()).select_from(table).where(table.c["shop"] == "another")
                )
            ).scalar_one()
            for table in METADATA.sorted_tables
            if "shop" in table.c
        }
    await database.close()
    assert not any(left.values())
    assert _names(settings.bundles_folder) == []
    answer = await client.recommend("home", user_id="ann")
    assert {result.item_id for result in answer.results} == {"mug", "pot"}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_a_shop_that_is_created_anew_knows_nothing_of_the_one_before(
    client: AsyncClient, application: Application
) -> None:
    async with of_shop(application, "another") as another:
        await another.record_events([Event(type="view", user_id="ann", item_id="mug")])
        await client.shops.DeleteShop(DeleteShopRequest(shop="another"))
        await create(client, id="another")
        items = await another.catalog.ListItems(ListItemsRequest())
        answer = await another.recommend("home", user_id="ann")

    assert (list(items.items), list(answer.results)) == ([], [])


async def test_other_servers_follow(client: AsyncClient, settings: Settings) -> None:
    second = Application(settings.model_copy(update={"refresh_seconds": 0.05}))
    await second.start()
    try:
        async with of_shop(second, "another") as another, of_shop(second, "outlet") as outlet:
            await another.recommend("home", visitor_id="eve")
            await create(client, id="outlet")
            await client.shops.DeleteShop(DeleteShopRequest(shop="another"))
            for _ in range(200):
                if await _code(another) is grpc.StatusCode.NOT_FOUND and await _code(outlet) is None:
                    return
        pytest.fail("the other server did not follow")
    finally:
        await second.stop()


async def _code(client: AsyncClient) -> grpc.StatusCode | None:
    try:
        await client.recommend("home", visitor_id="eve")
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def upsert(client: AsyncClient, *sizes: Mapping[str, Any]) -> list[str]:
    """Write items with a size each, and return what is wrong with them."""
    items = [
        {"id": f"shirt-{number}", "title": "Shirt", "attributes": {"size": size}}
        for number, size in enumerate(sizes)
    ]
    answer = await client.catalog.BatchUpsertItems(ParseDict({"items": items}, BatchUpsertItemsRequest()))
    return [f"{each.field}: {each.message}" for each in answer.rejections]


async def shown(client: AsyncClient, text: str) -> tuple[set[str], set[str]]:
    """Return what an answer and a list hold under a filter."""
    answer = await client.recommend("home", visitor_id="eve", filter=text)
    page = await client.catalog.ListItems(ListItemsRequest(filter=text))
    return {result.item_id for result in answer.results}, {item.id for item in page.items}


async def test_a_number_among_texts_is_rejected_and_hides_nothing(client: AsyncClient) -> None:
    said = await upsert(client, {"text": "M"}, {"number": 42}, {"text": "L"})

    assert said == ["attributes.size: attributes.size is a text: item 'shirt-1' gives a number, 42.0"]
    assert await shown(client, "attributes.size = M") == ({"shirt-0"}, {"shirt-0"})
    assert await shown(client, "attributes.size = 42") == (set(), set())
    defined = (await get(client, "default")).attributes
    assert list(defined) == [AttributeDefinition(name="size", type=ATTRIBUTE_TYPE_TEXT)]


async def test_a_type_that_was_defined_by_mistake_is_changed(client: AsyncClient) -> None:
    await upsert(client, {"number": 42})
    text = AttributeDefinition(name="size", type=ATTRIBUTE_TYPE_TEXT)

    await update(client, "attributes", id="default", attributes=[text])
    said = await upsert(client, {"number": 42}, {"text": "M"})

    assert said == []  # what was stored already stays, and does not count
    assert await shown(client, "attributes.size = M") == ({"shirt-1"}, {"shirt-1"})
    assert await shown(client, "attributes.size:*") == ({"shirt-1"}, {"shirt-1"})


async def test_an_attribute_that_is_declared_beforehand_rejects_from_the_first_value_on(
    client: AsyncClient,
) -> None:
    number = AttributeDefinition(name="size", type=ATTRIBUTE_TYPE_NUMBER)
    await create(client, id="outlet", attributes=[number])
    await update(client, "attributes", id="default", attributes=[number])

    said = await upsert(client, {"text": "M"})

    assert said == ["attributes.size: attributes.size is a number: item 'shirt-0' gives a text, 'M'"]

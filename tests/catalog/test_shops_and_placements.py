"""Shops, the placements that they start with, and how those change."""

import pytest

from endcap.catalog.configuration.placements import (
    Placement,
    RungSpec,
    delete_placement,
    get_placement,
    list_placements,
    put_placement,
)
from endcap.catalog.configuration.shop_settings import EventRole, EventType, ShopSettings
from endcap.catalog.configuration.shops import create_shop, get_shop, list_shops
from endcap.catalog.database.engine import Database
from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import AlreadyExists, NotFound
from endcap.sdk.query import Task


async def test_a_new_shop_has_the_default_placements(catalog_database: Database) -> None:
    async with catalog_database.read() as connection:
        shop = await get_shop(connection=connection, shop="default")
        placements = await list_placements(connection=connection, shop="default")

    assert (shop.currency, shop.event_weights, shop.revision) == ("GBP", dict(EVENT_WEIGHTS), 1)
    assert {
        placement.id: (placement.task, [rung.strategy for rung in placement.ladder], placement.exclude_seen)
        for placement in placements
    } == {
        "cart": (Task.RELATED, ["item_knn", "popular"], True),
        "home": (Task.FOR_YOU, ["hybrid", "ease", "cold_start", "popular"], True),
        "product": (Task.SIMILAR, ["content", "item_knn", "popular"], True),
        "rank": (Task.RANK, ["hybrid", "ease", "cold_start", "popular"], False),
        "recently-viewed": (Task.RECENTLY_VIEWED, ["recently_viewed"], False),
        "search": (Task.SEARCH, ["search", "popular"], False),
        "trending": (Task.TRENDING, ["popular"], True),
    }


async def test_a_shop_is_created_once(catalog_database: Database) -> None:
    with pytest.raises(AlreadyExists):
        async with catalog_database.write() as connection:
            await create_shop(connection=connection, shop="default", now=1)


async def test_shops_are_listed_by_id(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="another", now=1)
        shops = await list_shops(connection=connection)

    assert [shop.id for shop in shops] == ["another", "default"]


async def test_an_unknown_shop_is_not_found(catalog_database: Database) -> None:
    async with catalog_database.read() as connection:
        with pytest.raises(NotFound):
            await get_shop(connection=connection, shop="nowhere")


async def test_a_placement_comes_back_as_it_was_put(catalog_database: Database) -> None:
    placement = Placement(
        "footer",
        Task.FOR_YOU,
        (RungSpec("ease", {"decay": 0.5}, timeout=50), RungSpec("popular")),
        seen_types=("purchase", "view"),
        seen_window=86_400_000,
        page_size=4,
        filter='brand = "Acme"',
    )

    async with catalog_database.write() as connection:
        stored = await put_placement(connection=connection, shop="default", placement=placement, now=7)
        found = await get_placement(connection=connection, shop="default", placement_id="footer")

    assert found == stored
    assert (found.ladder, found.seen_types, found.created_time) == (placement.ladder, ("purchase", "view"), 7)


async def test_a_deleted_placement_is_not_found(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await delete_placement(connection=connection, shop="default", placement_id="home")

        with pytest.raises(NotFound):
            await get_placement(connection=connection, shop="default", placement_id="home")
        with pytest.raises(NotFound):
            await delete_placement(connection=connection, shop="default", placement_id="home")


def test_an_event_type_has_the_role_that_the_shop_gives_it_or_else_that_of_its_name() -> None:
    shop = ShopSettings(
        event_types={
            "search": EventType(1),
            "order": EventType(5, EventRole.PURCHASE),
            "visit": EventType(role=EventRole.SESSION),
        }
    )

    assert [shop.role_of(name) for name in ("search", "order", "refund", "wish")] == [
        EventRole.OTHER,
        EventRole.PURCHASE,
        EventRole.REFUND,
        EventRole.OTHER,
    ]
    assert [name for name in ("search", "order", "visit", "wish") if not shop.needs_item(name)] == ["visit"]
    assert not ShopSettings().needs_item("search")
    assert shop.types_of(EventRole.PURCHASE) == ["order", "purchase"]


def test_a_refund_never_weighs_for_an_item() -> None:
    shop = ShopSettings(
        event_types={"refund": EventType(2, EventRole.REFUND), "return": EventType(-3, EventRole.REFUND)}
    )

    assert shop.event_weights == {"refund": 0.0, "return": -3.0}

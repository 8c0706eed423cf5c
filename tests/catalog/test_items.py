"""Items: written in batches, listed in pages, deleted without giving their rows away."""

from dataclasses import replace

import pytest

from endcap.catalog.database.engine import Database
from endcap.catalog.fields.attributes import Moment
from endcap.catalog.fields.money import to_nanos, to_units
from endcap.catalog.items.items import Availability, Item, delete_items, get_items, list_items, upsert_items
from endcap.catalog.memory.loading import load_shop
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.sdk.filters import parse_filter


KETTLE = Item(
    "kettle",
    title="Kettle",
    localized_texts={"de": {"title": "Kessel"}},
    categories=("Home", "Home > Kitchen"),
    tags=("new",),
    attributes={"litres": 1.5, "colours": ["red", "blue"]},
    price_nanos=to_nanos("19.99"),
    cost_nanos=1,
    availability=Availability.PREORDER,
    image_uris=("https://shop.example/kettle.jpg",),
    created_time=5,
)


async def test_an_item_comes_back_as_it_was_written(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        revision = await upsert_items(connection=connection, shop="default", items=[KETTLE], now=9)
        found = await get_items(connection=connection, shop="default", item_ids=["kettle", "missing"])

    assert revision == 2
    assert found == {"kettle": replace(KETTLE, updated_time=9, revision=2)}
    assert found["kettle"].etag == "2"


async def test_only_the_fields_asked_for_are_read(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[KETTLE], now=9)
        found = await get_items(
            connection=connection,
            shop="default",
            item_ids=["kettle"],
            columns={"title", "tags", "price_nanos"},
        )

    assert found == {"kettle": Item("kettle", title="Kettle", tags=("new",), price_nanos=KETTLE.price_nanos)}


async def test_a_moment_among_attributes_is_told_from_a_number_and_compares_as_one(
    catalog_database: Database,
) -> None:
    mug = Item("mug", attributes={"since": Moment(1_700_000_000_000), "litres": 0.5})
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[mug], now=9)
        found = await get_items(connection=connection, shop="default", item_ids=["mug"])

    view = (await load_shop(catalog_database, "default", now=10)).view

    assert isinstance(found["mug"].attributes["since"], Moment)
    assert not isinstance(found["mug"].attributes["litres"], Moment)
    assert parse_filter("attributes.since >= 2023-11-14T22:13:20Z").mask(view).tolist() == [True]
    assert parse_filter("attributes.since < 2023-11-14T22:13:20Z").mask(view).tolist() == [False]


async def test_a_written_item_replaces_the_old_one_in_its_row(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        for now, titles in ((1, ("Mug", "Kettle")), (2, ("Big mug", "Spoon"))):
            ids = ("mug", "kettle") if now == 1 else ("mug", "spoon")
            items = [Item(item_id, title=title) for item_id, title in zip(ids, titles, strict=True)]
            await upsert_items(connection=connection, shop="default", items=items, now=now)
        found = await get_items(connection=connection, shop="default", item_ids=["mug", "spoon"])

    view = (await load_shop(catalog_database, "default", now=10)).view

    assert view.vocabulary.ids == ("mug", "kettle", "spoon")
    assert view.titles == ("Big mug", "Kettle", "Spoon")
    assert [found[item_id].created_time for item_id in ("mug", "spoon")] == [1, 2]


async def test_a_deleted_item_is_gone_and_keeps_its_row(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        items = [Item("mug"), Item("kettle")]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
        await delete_items(connection=connection, shop="default", item_ids=["mug", "missing"], now=2)
        found = await get_items(connection=connection, shop="default", item_ids=["mug", "kettle"])

    view = (await load_shop(catalog_database, "default", now=10)).view

    assert list(found) == ["kettle"]
    assert view.vocabulary.ids == ("mug", "kettle")
    assert view.available.tolist() == [False, True]


async def test_items_are_listed_in_pages_by_id(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        items = [Item(item_id) for item_id in ("c", "a", "d", "b")]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
        first = await list_items(connection=connection, shop="default", limit=3)
        second = await list_items(connection=connection, shop="default", limit=3, after=first[-1].id)

    assert [item.id for item in first] == ["a", "b", "c"]
    assert [item.id for item in second] == ["d"]


async def test_items_of_an_unknown_shop_are_not_found(catalog_database: Database) -> None:
    with pytest.raises(NotFound):
        async with catalog_database.write() as connection:
            await upsert_items(connection=connection, shop="nowhere", items=[KETTLE], now=1)


@pytest.mark.parametrize(
    ("amount", "nanos"),
    [(6.95, 6_950_000_000), ("0.000000001", 1), (9_000_000.01, 9_000_000_010_000_000), (1e-7, 100)],
)
def test_amounts_of_money_are_exact(amount: float | str, nanos: int) -> None:
    assert to_nanos(amount) == nanos
    assert to_units(nanos) == float(amount)


@pytest.mark.parametrize("amount", ["a lot", float("nan"), float("inf"), 1e10])
def test_what_is_no_amount_of_money_is_rejected(amount: float | str) -> None:
    with pytest.raises(InvalidInput):
        to_nanos(amount)

"""Attributes have one type in a shop: what is of another type is rejected, or does not count."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from endcap.catalog.configuration.attribute_definitions import (
    AttributeType,
    AttributeTypes,
)
from endcap.catalog.configuration.shops import change_shop, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.fields.attributes import AttributeValue, Moment
from endcap.catalog.importing.importer import check_files, import_files
from endcap.catalog.importing.sources import find_sources
from endcap.catalog.items.attribute_checks import AttributeChecker
from endcap.catalog.items.items import Item, delete_items, upsert_items
from endcap.catalog.memory.loading import load_shop
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filters import parse_filter
from endcap.sdk.snapshot import Snapshot
from endcap.server.reranking.attributes import Attribute


NOW = 1_700_000_000_000
NOTHING: Mapping[str, Item] = MappingProxyType({})


async def write(database: Database, **attributes: AttributeValue) -> None:
    """Store items named for the value that each has under the name ``size``."""
    items = [Item(name, title=name, attributes={"size": value}) for name, value in attributes.items()]
    async with database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)


async def answered(database: Database, text: str) -> list[str]:
    """Return the items that answers may show under a filter."""
    view = (await load_shop(database, "default", now=NOW)).view
    mask = parse_filter(text).mask(view)
    return sorted(item for item, shown in zip(view.vocabulary.ids, mask, strict=True) if shown)


async def test_one_item_with_a_number_does_not_hide_the_others_from_a_text_filter(
    catalog_database: Database,
) -> None:
    await write(catalog_database, shirt="M", jacket="L", odd=42)

    assert await answered(catalog_database, "attributes.size = M") == ["shirt"]
    assert await answered(catalog_database, "attributes.size = 42") == []


async def test_an_item_that_is_deleted_takes_nothing_with_it(catalog_database: Database) -> None:
    await write(catalog_database, shirt="M", odd=42)

    async with catalog_database.write() as connection:
        await delete_items(connection=connection, shop="default", item_ids=["odd", "shirt"], now=NOW)
    await write(catalog_database, jacket="M")

    assert "jacket" in await answered(catalog_database, "attributes.size = M")


@pytest.mark.parametrize(
    ("value", "type_"),
    [("M", "text"), (4.5, "number"), (True, "boolean"), (Moment(5), "time"), (["S", "M"], "texts")],
)
async def test_the_first_value_of_an_attribute_says_its_type(
    catalog_database: Database, value: AttributeValue, type_: str
) -> None:
    await write(catalog_database, first=value)

    async with catalog_database.read() as connection:
        assert (await get_shop(connection=connection, shop="default")).attributes == {"size": type_}


async def test_of_two_writers_at_once_one_says_the_type(catalog_database: Database) -> None:
    await asyncio.gather(write(catalog_database, shirt="M"), write(catalog_database, box=42))

    async with catalog_database.read() as connection:
        types = (await get_shop(connection=connection, shop="default")).attributes
    texts = await answered(catalog_database, "attributes.size = M")
    numbers = await answered(catalog_database, "attributes.size = 42")
    assert (types, texts, numbers) in [
        ({"size": "text"}, ["shirt"], []),
        ({"size": "number"}, [], ["box"]),
    ]


async def test_after_a_change_of_the_type_the_stored_values_of_the_new_one_count(
    catalog_database: Database,
) -> None:
    await write(catalog_database, odd=42, shirt="M", jacket="L")
    before = await answered(catalog_database, "attributes.size = M")

    async with catalog_database.write() as connection:
        await change_shop(
            connection=connection,
            shop="default",
            change=lambda shop: replace(shop, attributes={"size": AttributeType.TEXT}),
        )

    assert (before, await answered(catalog_database, "attributes.size = M")) == ([], ["shirt"])


def rejected(types: AttributeTypes, *items: Item, stored: Mapping[str, Item] = NOTHING) -> list[str]:
    """Return what a checker says to items, one after the other; an empty text to a good one."""
    checker, said = AttributeChecker(dict(types)), []
    for item in items:
        try:
            before = stored[item.id].attributes if item.id in stored else {}
            checker.check(item.id, item.attributes, before)
            said.append("")
        except InvalidInput as error:
            said.append(str(error))
    return said


def test_a_value_of_a_wrong_type_is_rejected_with_a_sentence() -> None:
    items = [
        Item("shirt", attributes={"size": "M"}),
        Item("odd", attributes={"size": 42, "watts": "many"}),
        Item("lamp", attributes={"watts": 9}),
        Item("long", attributes={"size": ["x" * 50]}),
    ]

    assert rejected({"size": AttributeType.TEXT}, *items) == [
        "",
        "attributes.size is a text: item 'odd' gives a number, 42",
        "",
        f"attributes.size is a text: item 'long' gives a list of texts, ['{'x' * 38}…",
    ]


def test_a_stored_value_that_does_not_count_stays_when_something_else_is_written() -> None:
    odd = Item("odd", attributes={"size": 42})

    said = rejected({"size": AttributeType.TEXT}, replace(odd, title="Odd"), odd, stored={"odd": odd})

    assert said == ["", ""]


def test_a_shop_has_at_most_a_thousand_attributes() -> None:
    types = {f"a{number}": AttributeType.TEXT for number in range(1_000)}

    assert rejected(types, Item("mug", attributes={"size": "M"}), Item("pot", attributes={"a1": "M"})) == [
        "the shop has 1000 attributes, the most it can have: item 'mug' gives another one, size",
        "",
    ]


async def test_an_import_rejects_rows_of_a_wrong_type_and_counts_them_by_attribute(
    catalog_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "items.jsonl").write_text(
        '{"item_id": "shirt", "title": "Shirt", "attributes": {"size": "M"}}\n'
        '{"item_id": "odd", "title": "Odd", "attributes": {"size": 42}}\n'
        '{"item_id": "other", "title": "Other", "attributes": {"size": 43}}\n'
    )
    rejects = tmp_path / "rejects.csv"
    sources = find_sources(tmp_path)

    dry = await check_files(catalog_database, "default", sources, now=NOW)
    report = await import_files(catalog_database, "default", sources, now=NOW, rejects=rejects)

    assert (report.items, report.rejected) == (1, {"items.jsonl: attributes.size is a text": 2})
    assert dry.rejected == report.rejected
    assert "attributes.size is a text: item 'odd' gives a number, 42" in rejects.read_text()


async def test_a_snapshot_holds_only_values_that_count(catalog_database: Database, tmp_path: Path) -> None:
    await write(catalog_database, shirt="M", odd=42)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")

    items = Snapshot.open(tmp_path / "snapshot").items()
    held = dict(zip(items["item_id"], items["attributes"].list.len(), strict=True))
    assert held == {"shirt": 1, "odd": 0}


async def test_a_cap_counts_the_texts_although_an_item_has_a_number(catalog_database: Database) -> None:
    await write(catalog_database, shirt="M", jacket="M", odd=42)
    view = (await load_shop(catalog_database, "default", now=NOW)).view

    sizes, owners = Attribute("attributes.size").values(view, np.arange(3, dtype=np.int32))

    assert (sizes.tolist(), owners.tolist()) == ([0, 0], [0, 1])

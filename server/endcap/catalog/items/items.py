"""Items: the things that a shop sells."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import define_attributes
from endcap.catalog.database.bulk import upsert
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.database.tables import ITEMS
from endcap.catalog.fields.attributes import AttributeValue, load_attributes, store_attributes
from endcap.catalog.items.search_index import index_items, unindex_items
from endcap.catalog.items.write_log import note_item_write


class Availability(StrEnum):
    """Whether an item can be bought."""

    IN_STOCK = "in_stock"

    OUT_OF_STOCK = "out_of_stock"
    """The item cannot be bought now and is never shown."""

    PREORDER = "preorder"
    BACKORDER = "backorder"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a shop sells."""

    id: str
    title: str = ""
    description: str = ""
    language_code: str = ""

    localized_texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """``title`` and ``description`` by language."""

    categories: tuple[str, ...] = ()
    brand: str = ""
    tags: tuple[str, ...] = ()

    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    price_nanos: int | None = None
    """Billionths of a unit of ``currency``, like the next two amounts."""

    original_price_nanos: int | None = None
    cost_nanos: int | None = None

    currency: str = ""
    """ISO 4217 code; empty for the shop's currency."""

    image_uris: tuple[str, ...] = ()
    availability: Availability = Availability.IN_STOCK

    available_time: int | None = None
    """Unix milliseconds before which the item is not shown; None if it was always available."""

    expire_time: int | None = None
    """Unix milliseconds from which the item is no longer shown; None if it never expires."""

    group_id: str = ""
    """The product of which the item is a variant; empty if the item is not a variant."""

    created_time: int | None = None
    """Unix milliseconds; None in a write keeps the stored time, or sets the time of the write."""

    updated_time: int = 0
    """Unix milliseconds of the last write; writes ignore this field and the next one."""

    revision: int = 0
    """The shop's revision of the last write."""

    @property
    def etag(self) -> str:
        """Identifies the stored state."""
        return str(self.revision)


_COLUMNS = tuple(ITEMS.c[attribute.name] for attribute in fields(Item))
_LOADERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "categories": tuple,
        "tags": tuple,
        "image_uris": tuple,
        "attributes": load_attributes,
        "availability": Availability,
    }
)
"""Functions that convert a stored value to a field, for fields that are stored in another form."""


async def get_items(
    *,
    connection: AsyncConnection,
    shop: str,
    item_ids: Iterable[str],
    columns: Collection[str] | None = None,
) -> dict[str, Item]:
    """Return the items that exist, by id.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        item_ids: The ids to read; any number.
        columns: The fields to read beside the id; other fields keep their defaults. None reads all fields.
    """
    read = [column for column in _COLUMNS if columns is None or column.name in {"id", *columns}]
    wanted = list(dict.fromkeys(item_ids))
    found: dict[str, Item] = {}
    for chunk in in_chunks(wanted):
        query = select(*read).where(
            ITEMS.c.shop == shop,
            is_among(connection, ITEMS.c.id, chunk),
            ITEMS.c.deleted.is_(False),
        )
        rows = (await connection.execute(query)).mappings()
        found.update((row["id"], _item(row)) for row in rows)
    return found


async def list_items(
    *,
    connection: AsyncConnection,
    shop: str,
    limit: int,
    after: str = "",
) -> list[Item]:
    """Return a page of items in the order of their ids.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        limit: The largest number to return.
        after: The last id of the previous page; empty for the first page.
    """
    query = (
        select(*_COLUMNS)
        .where(
            ITEMS.c.shop == shop,
            ITEMS.c.id > after,
            ITEMS.c.deleted.is_(False),
        )
        .order_by(ITEMS.c.id)
        .limit(limit)
    )
    return [_item(row) for row in (await connection.execute(query)).mappings()]


async def upsert_items(*, connection: AsyncConnection, shop: str, items: Iterable[Item], now: int) -> int:
    """Create items, or replace the items of the same ids; if an id occurs twice, the last item counts.

    The first value of a new attribute defines the attribute's type. A value of another type is stored but
    does not count; callers reject such values beforehand with ``AttributeChecker``.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        items: The items to store. New items get the next rows of the view, in this order.
        now: Unix milliseconds.

    Returns:
        The shop's new revision.

    Raises:
        NotFound: The shop does not exist.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    written = {item.id: item for item in items}
    stored = await _positions(connection, shop, list(written))
    last = select(func.max(ITEMS.c.position)).where(ITEMS.c.shop == shop)
    next_position = (await connection.execute(last)).scalar()
    next_position = 0 if next_position is None else next_position + 1
    values = []
    for item in written.values():
        position, created = stored.get(item.id, (next_position, now))
        next_position += position == next_position
        values.append(
            _values(item)
            | {
                "shop": shop,
                "position": position,
                "created_time": created if item.created_time is None else item.created_time,
                "updated_time": now,
                "deleted": False,
                "revision": revision,
            }
        )
    await define_attributes(
        connection=connection, shop=shop, items=[item.attributes for item in written.values()]
    )
    await upsert(connection=connection, table=ITEMS, values=values)
    await index_items(connection=connection, shop=shop, items=values)
    await note_item_write(connection=connection, shop=shop, revision=revision)
    return revision


async def delete_items(*, connection: AsyncConnection, shop: str, item_ids: Iterable[str], now: int) -> int:
    """Delete the items that exist: they are never shown again, but their events stay.

    Returns:
        The shop's new revision.

    Raises:
        NotFound: The shop does not exist.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    await note_item_write(connection=connection, shop=shop, revision=revision)
    wanted = list(item_ids)
    await unindex_items(connection=connection, shop=shop, item_ids=wanted)
    for chunk in in_chunks(wanted):
        await connection.execute(
            update(ITEMS)
            .where(ITEMS.c.shop == shop, is_among(connection, ITEMS.c.id, chunk))
            .values(deleted=True, updated_time=now, revision=revision)
        )
    return revision


async def _positions(
    connection: AsyncConnection, shop: str, item_ids: list[str]
) -> dict[str, tuple[int, int]]:
    """Return position and created time by id of the items that have a row, including deleted items."""
    stored: dict[str, tuple[int, int]] = {}
    for chunk in in_chunks(item_ids):
        query = select(ITEMS.c.id, ITEMS.c.position, ITEMS.c.created_time).where(
            ITEMS.c.shop == shop, is_among(connection, ITEMS.c.id, chunk)
        )
        for item_id, position, created in await connection.execute(query):
            stored[item_id] = (position, created)
    return stored


def _values(item: Item) -> dict[str, Any]:
    values = {attribute.name: getattr(item, attribute.name) for attribute in fields(Item)}
    values["localized_texts"] = {language: dict(texts) for language, texts in item.localized_texts.items()}
    values["attributes"] = store_attributes(item.attributes)
    values["availability"] = item.availability.value
    return values


def _item(row: RowMapping) -> Item:
    values = dict(row)
    for name, load in _LOADERS.items():
        if name in values:
            values[name] = load(values[name])
    return Item(**values)

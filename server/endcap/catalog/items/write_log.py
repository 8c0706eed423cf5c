"""The log of writes to items, for processes that hold an earlier revision of the shop.

An item records only the revision of its last write, so a later write hides an earlier one. The log therefore
notes every revision that wrote items: a process that can account for every revision has missed no change.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, Select, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import ITEM_WRITES, ITEMS


ItemRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of ``select_items``: the columns of an item that a view needs."""

KEPT_WRITES = 10_000
"""Revisions after which a note is deleted; a process that is further behind loads the shop again."""

_AT_ONCE = 100  # rows decoded between two turns of the event loop: one and a half milliseconds


def select_items(shop: str) -> Select[*tuple[Any, ...]]:
    """Return the query for the items of a shop, including deleted items, in the order of their rows."""
    return (
        select(
            ITEMS.c.position,
            ITEMS.c.id,
            ITEMS.c.title,
            ITEMS.c.description,
            ITEMS.c.categories,
            ITEMS.c.brand,
            ITEMS.c.tags,
            ITEMS.c.attributes,
            ITEMS.c.group_id,
            ITEMS.c.price_nanos,
            ITEMS.c.original_price_nanos,
            ITEMS.c.cost_nanos,
            ITEMS.c.currency,
            ITEMS.c.availability,
            ITEMS.c.available_time,
            ITEMS.c.expire_time,
            ITEMS.c.created_time,
            ITEMS.c.deleted,
            ITEMS.c.revision,
        )
        .where(ITEMS.c.shop == shop)
        .order_by(ITEMS.c.position)
    )


async def note_item_write(*, connection: AsyncConnection, shop: str, revision: int) -> None:
    """Note that a revision wrote items, and delete old notes."""
    old = ITEM_WRITES.c.revision <= revision - KEPT_WRITES
    await connection.execute(delete(ITEM_WRITES).where(ITEM_WRITES.c.shop == shop, old))
    await connection.execute(insert(ITEM_WRITES).values(shop=shop, revision=revision))


async def changed_items(*, connection: AsyncConnection, shop: str, revision: int) -> Sequence[ItemRow]:
    """Return the current state of the items written after a revision, in the order of their rows."""
    result = await connection.stream(select_items(shop).where(ITEMS.c.revision > revision))
    return [row async for partition in result.partitions(_AT_ONCE) for row in partition]

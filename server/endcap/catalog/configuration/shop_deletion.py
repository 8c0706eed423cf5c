"""Deletion of a shop and of every trace of it in the database."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.deletion import delete_rows
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import EVENTS, EXPOSURES, ITEM_TEXTS, METADATA, SHOPS


async def empty_shop(database: Database, shop: str) -> None:
    """Delete the events, exposures and texts of a shop, possibly millions, in batches."""
    for table in (EVENTS, EXPOSURES, ITEM_TEXTS):
        await delete_rows(database, table, table.c.shop == shop)


async def delete_shop(*, connection: AsyncConnection, shop: str) -> None:
    """Delete a shop and every row that belongs to it.

    Args:
        connection: A connection that holds the shop's revision.
        shop: The shop's id.
    """
    for table in reversed(METADATA.sorted_tables):
        if table is not SHOPS:
            await connection.execute(delete(table).where(table.c.shop == shop))
    await connection.execute(delete(SHOPS).where(SHOPS.c.id == shop))

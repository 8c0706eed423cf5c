"""The transaction of a use case that changes a shop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import lock_revision
from endcap.server.admin.caller import Caller


@asynccontextmanager
async def changing(database: Database, caller: Caller) -> AsyncIterator[AsyncConnection]:
    """Open a transaction in which nobody else changes the caller's shop; one that only validates only reads.

    Raises:
        NotFound: The shop does not exist.
    """
    opened = database.read() if caller.validate_only else database.write()
    async with opened as connection:
        if caller.validate_only:  # PostgreSQL locks nothing for a reader
            await get_shop(connection=connection, shop=caller.shop)
        else:
            await lock_revision(connection=connection, shop=caller.shop)
        yield connection

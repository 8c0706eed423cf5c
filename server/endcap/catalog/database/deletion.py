"""Deleting many rows without holding up other writers."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, select

from endcap.catalog.database.engine import Database
from endcap.catalog.database.membership import is_among


BATCH_SIZE = 1_000
"""Rows that one transaction deletes; other writers have their turn after each."""


async def delete_rows(database: Database, table: Table, condition: ColumnElement[bool]) -> int:
    """Delete rows in batches, with other writers' turns between, and return how many there were.

    Args:
        database: The database.
        table: One with a ``sequence``.
        condition: What the rows meet.
    """
    count = last = 0
    query = select(table.c.sequence).where(condition).order_by(table.c.sequence).limit(BATCH_SIZE)
    while True:
        # They are looked for in a transaction that holds nobody up.
        async with database.read() as connection:
            found = await connection.execute(query.where(table.c.sequence > last))
            batch: Sequence[int] = found.scalars().all()
        if not batch:
            return count
        last = batch[-1]
        started = time.monotonic()
        async with database.write() as connection:
            statement = delete(table).where(is_among(connection, table.c.sequence, batch))
            count += (await connection.execute(statement)).rowcount
        # Other processes poll for the lock: they are to find it free as often as not.
        await asyncio.sleep(time.monotonic() - started)

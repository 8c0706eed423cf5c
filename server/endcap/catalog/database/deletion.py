"""Deleting many rows without holding up other writers."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, select

from endcap.catalog.database.engine import Database
from endcap.catalog.database.membership import is_among


BATCH_SIZE = 1_000
"""Rows that one transaction deletes; other writers get a turn after each transaction."""


async def delete_rows(database: Database, table: Table, condition: ColumnElement[bool]) -> int:
    """Delete rows in batches, let other writers in between, and return the number of deleted rows.

    Args:
        database: The database.
        table: A table with a column ``sequence``.
        condition: The condition of the rows to delete.
    """
    count = last = 0
    query = select(table.c.sequence).where(condition).order_by(table.c.sequence).limit(BATCH_SIZE)
    while True:
        # The search runs in a reading transaction, which blocks no writer.
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
        # Other processes poll for the lock, which should be free half of the time.
        await asyncio.sleep(time.monotonic() - started)

"""Writing rows whether or not they exist; each database spells that its own way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


async def insert_missing(
    *, connection: AsyncConnection, table: Table, values: Sequence[dict[str, Any]]
) -> None:
    """Insert the rows whose primary key is not taken."""
    if values:
        statement = _INSERTS[connection.dialect.name](table)
        await connection.execute(statement.on_conflict_do_nothing(), values)


async def upsert(
    *,
    connection: AsyncConnection,
    table: Table,
    values: Sequence[dict[str, Any]],
    changed: Sequence[str] | None = None,
) -> None:
    """Insert rows, or change those whose primary key is taken.

    Args:
        connection: One that writes.
        table: Where.
        values: The rows.
        changed: The columns that a row that exists takes over; None for all.
    """
    if values:
        statement = _INSERTS[connection.dialect.name](table)
        names = [column.name for column in table.columns] if changed is None else changed
        keys = [column.name for column in table.primary_key]
        taken_over = {name: statement.excluded[name] for name in names if name not in keys}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=keys, set_=taken_over), values
        )

"""Writing rows whether or not they exist; each database spells that its own way."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection


_Insert = sqlite.Insert | postgresql.Insert

_INSERTS: Mapping[str, Callable[[Table], _Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_DIALECTS: Mapping[str, Callable[[], Dialect]] = {
    "sqlite": SQLiteDialect_aiosqlite,
    "postgresql": PGDialect_asyncpg,
}


async def insert_rows(
    *,
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    changed: tuple[str, ...] | None = None,
) -> None:
    """Insert many rows the short way: the driver gets them as they are.

    SQLAlchemy takes longer to look at each value of a row than a database to store it.

    Args:
        connection: One that writes.
        table: Where.
        rows: Values for all columns in the table's order, but for a key that the database counts up; as the
            driver takes them, so JSON is a text.
        changed: The columns that a row whose primary key is taken takes over, maybe none; None when no key
            can be taken.
    """
    if rows:
        statement = _insert_text(connection.dialect.name, table, changed)
        await connection.exec_driver_sql(statement, list(rows))


async def upsert(*, connection: AsyncConnection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or change those whose primary key is taken."""
    if values:
        names = tuple(column.name for column in table.columns)
        statement = _insert(connection.dialect.name, table, names)
        await connection.execute(statement, values)


@cache
def _insert_text(dialect: str, table: Table, changed: tuple[str, ...] | None) -> str:
    names = [column.name for column in table.columns if column is not table.autoincrement_column]
    # Inline: nobody asks for the keys that the database counted up.
    statement = _insert(dialect, table, changed).inline()
    return str(statement.compile(dialect=_DIALECTS[dialect](), column_keys=names))


def _insert(dialect: str, table: Table, changed: tuple[str, ...] | None) -> _Insert:
    statement = _INSERTS[dialect](table)
    if changed is None:
        return statement
    keys = [column.name for column in table.primary_key]
    taken_over = {name: statement.excluded[name] for name in changed if name not in keys}
    if not taken_over:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=taken_over)

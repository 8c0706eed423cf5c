"""Writing many rows, new or existing; each database has its own SQL for this."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.postgresql import copy_rows, keep_plans


_Insert = sqlite.Insert | postgresql.Insert

_MANY = 100
"""Number of rows from which an extra statement pays off."""

_SQLITE_ROWS = 256
"""Rows of a statement; one size for most statements, since parsing a new one takes longer than running it."""

_INSERTS: Mapping[str, Callable[[Table], _Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


async def insert_rows(
    *,
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    changed: tuple[str, ...] | None = None,
) -> int:
    """Insert many rows fast, and return the number of inserted or changed rows.

    Rows go directly to the driver, because SQLAlchemy takes longer to process a row than a database takes to
    store it.

    Args:
        connection: A connection that writes.
        table: The table.
        rows: Values for all columns in the table's order, except an autoincremented key and columns with a
            default; as the driver takes them, so JSON is a text.
        changed: Columns to update if the primary key exists and the first of these columns differs; empty to
            skip a row that exists under any key; None if no row can exist.
    """
    if not rows:
        return 0
    if connection.dialect.name == "sqlite":
        return await _insert_values(connection, table, rows, changed)
    if len(rows) >= _MANY:
        await keep_plans(connection)
    if changed is None:
        await copy_rows(connection=connection, table=table, columns=_given(table), rows=rows)
        return len(rows)
    names = _given(table)
    keys = [names.index(key.name) for key in table.primary_key if key.name in names]
    # Sorted, two writers of the same rows cannot wait for each other in both directions.
    ordered = sorted(rows, key=itemgetter(*keys)) if keys else rows
    arrays = tuple(map(list, zip(*ordered, strict=True)))
    result = await connection.exec_driver_sql(_insert_arrays_text(table, changed), arrays)
    return result.rowcount


async def _insert_values(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    changed: tuple[str, ...] | None,
) -> int:
    """Insert hundreds of rows with each statement, and switch threads once for all but the last statement.

    SQLite releases Python's lock for each statement. With one statement a row, a busy event loop would take a
    turn of milliseconds after every row.
    """
    count = 0
    starts = range(0, len(rows), _SQLITE_ROWS)
    chunks = [tuple(chain.from_iterable(rows[start : start + _SQLITE_ROWS])) for start in starts]
    for length, alike in groupby(chunks, key=len):
        statement = _insert_text(table, changed, length // len(rows[0]))
        count += (await connection.exec_driver_sql(statement, list(alike))).rowcount
    return count


async def upsert(*, connection: AsyncConnection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or update the rows whose primary key exists."""
    if values:
        changed = [column.name for column in table.columns if not column.primary_key]
        statement = _take_over(_INSERTS[connection.dialect.name](table), table, changed)
        await connection.execute(statement, values)


def _given(table: Table) -> list[str]:
    """Return the columns, except an autoincremented key and columns with a default."""
    return [
        column.name
        for column in table.columns
        if column is not table.autoincrement_column and column.server_default is None
    ]


@cache
def _insert_text(table: Table, changed: tuple[str, ...] | None, count: int) -> str:
    # Inline: the autoincremented keys are not needed.
    statement = _insert("sqlite", table, changed).inline()
    text = str(statement.compile(dialect=SQLiteDialect_aiosqlite(), column_keys=_given(table)))
    row = f"({', '.join('?' * len(_given(table)))})"
    return text.replace(row, ", ".join([row] * count), 1)


@cache
def _insert_arrays_text(table: Table, changed: tuple[str, ...]) -> str:
    """Return the statement that takes one array for each column: one plan for all rows, in half the time."""
    names = _given(table)
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    rows = func.unnest(*arrays).table_valued(*names).render_derived()
    statement = _insert("postgresql", table, changed).from_select(names, select(*rows.c))
    return str(statement.compile(dialect=PGDialect_asyncpg()))  # type: ignore[no-untyped-call]


def _insert(dialect: str, table: Table, changed: tuple[str, ...] | None) -> _Insert:
    statement = _INSERTS[dialect](table)
    if changed is None:
        return statement
    if not changed:
        return statement.on_conflict_do_nothing()
    differs = table.c[changed[0]].is_distinct_from(statement.excluded[changed[0]])
    return _take_over(statement, table, changed, where=differs)


def _take_over(
    statement: _Insert, table: Table, changed: Iterable[str], where: ColumnElement[bool] | None = None
) -> _Insert:
    taken_over = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=taken_over, where=where
    )

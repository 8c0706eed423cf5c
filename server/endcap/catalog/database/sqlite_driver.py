"""A connection to SQLite that changes threads once for a statement.

aiosqlite does each of its calls in a thread of the connection's own: four of them for a statement, to create
a cursor, execute, fetch and close. While the event loop is at work, each takes its turn with the loop for
Python's lock, twice, and a turn is milliseconds. So a statement is executed, its first rows are fetched and
it is done with in one call here.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite


_FETCHED = 256
"""Rows that come with a statement: all that most statements have, and few for one that is streamed."""

_ALL = 2**31 - 1
"""Rows that no statement has."""


async def connect(path: str, *, lock_timeout: float) -> aiosqlite.Connection:
    """Open a database.

    Args:
        path: A URI of SQLite's, ``file:`` and a path.
        lock_timeout: Seconds to wait while another process writes.
    """
    # Without an isolation level Python begins no transactions of its own. The thread that uses a connection
    # is not the one that closes it when it is forgotten.
    opened = partial(
        sqlite3.connect, path, uri=True, timeout=lock_timeout, isolation_level=None, check_same_thread=False
    )
    connection = Connection(opened, iter_chunk_size=_FETCHED)
    connection._thread.daemon = True  # noqa: SLF001 - one that hangs must not keep the process from its end
    return await connection


class Connection(aiosqlite.Connection):
    """A connection whose cursors are ours."""

    def cursor(self) -> "_Cursor":  # type: ignore[override]
        """Return a cursor, which does nothing before its first statement."""
        return _Cursor(self)

    @property
    def driver(self) -> sqlite3.Connection:
        """The connection of the standard library; for its own thread."""
        return self._conn

    async def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the connection's thread."""
        await self._execute(function, *arguments)  # type: ignore[no-untyped-call]

    async def commit(self) -> None:
        """Commit; without a transaction there is nothing to change threads for."""
        if self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back; without a transaction there is nothing to change threads for."""
        if self.in_transaction:
            await super().rollback()


class _Cursor:
    """The part of aiosqlite's cursor that SQLAlchemy uses."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self._more = False  # rows may be left in the statement

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        return None if self._cursor is None else self._cursor.description

    @property
    def rowcount(self) -> int:
        return -1 if self._cursor is None else self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return None if self._cursor is None else self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(self._execute, statement, parameters)

    async def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        await self._connection.run(self._execute_many, statement, parameters)

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        size = size or self.arraysize
        missing = size - len(self._rows)
        if missing > 0 and self._more:
            await self._connection.run(self._fetch, self._cursor, missing)
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        return await self.fetchmany(_ALL)

    async def close(self) -> None:
        if self._cursor is not None and self._more:
            self._more = False
            await self._connection.run(self._cursor.close)

    # In the connection's thread.

    def _execute(self, statement: str, parameters: Sequence[Any]) -> None:
        self._cursor = self._connection.driver.execute(statement, parameters)
        self._rows = []
        self._more = self._cursor.description is not None
        if self._more:
            self._fetch(self._cursor, _FETCHED)

    def _execute_many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._cursor = self._connection.driver.executemany(statement, parameters)

    def _fetch(self, cursor: sqlite3.Cursor, count: int) -> None:
        rows = cursor.fetchmany(count)
        self._rows += rows
        # A statement that was stepped past its last row is done with: it holds no lock, nothing is to close.
        self._more = len(rows) == count

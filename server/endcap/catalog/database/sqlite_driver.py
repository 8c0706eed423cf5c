"""A connection to SQLite that switches threads once for each statement.

aiosqlite runs each call in the connection's own thread, and a statement needs four calls: create a cursor,
execute, fetch and close. While the event loop is busy, each call waits twice for Python's lock, milliseconds
each time. Here, one call executes a statement, fetches its first rows and closes it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite


_FETCHED = 256
"""Rows fetched together with a statement: all rows of most statements, and few for a streamed one."""

_ALL = 2**31 - 1
"""More rows than any statement returns."""


async def connect(path: str, *, lock_timeout: float) -> aiosqlite.Connection:
    """Open a database.

    Args:
        path: A URI of SQLite: ``file:`` and a path.
        lock_timeout: Seconds to wait while another process writes.
    """
    # Without an isolation level Python begins no transactions itself. A forgotten connection is closed by
    # another thread than the one that used it.
    opened = partial(
        sqlite3.connect, path, uri=True, timeout=lock_timeout, isolation_level=None, check_same_thread=False
    )
    connection = Connection(opened, iter_chunk_size=_FETCHED)
    connection._thread.daemon = True  # noqa: SLF001 - a thread that hangs must not keep the process from exiting
    return await connection


class Connection(aiosqlite.Connection):
    """A connection with cursors of this module."""

    def cursor(self) -> "_Cursor":  # type: ignore[override]
        """Return a cursor, which does nothing before its first statement."""
        return _Cursor(self)

    @property
    def driver(self) -> sqlite3.Connection:
        """The connection of the standard library; use it only in the connection's thread."""
        return self._conn

    async def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the connection's thread."""
        await self._execute(function, *arguments)  # type: ignore[no-untyped-call]

    async def commit(self) -> None:
        """Commit; without a transaction, do not switch threads."""
        if self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back; without a transaction, do not switch threads."""
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

    # The methods below run in the connection's thread.

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
        # A statement past its last row is finished: it holds no lock and needs no closing.
        self._more = len(rows) == count

"""The database: transactions that read, transactions that write, and errors in our own terms."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from endcap.catalog.database import postgresql, sqlite
from endcap.catalog.database.schema import require_current, schema_version
from endcap.sdk.errors import DataLoss, InvalidInput, Unavailable


_Result = TypeVar("_Result")

LOCK_TIMEOUT = 5.0
"""Seconds that a write waits for others to finish, unless told otherwise."""


class _DatabaseKind(Protocol):
    """A module that knows one kind of database."""

    READING: Mapping[str, object]
    WRITING: Mapping[str, object]
    WRITERS: int

    def create_engine(self, url: URL, *, lock_timeout: float, migrating: bool = False) -> AsyncEngine: ...

    async def erase_deleted(self, engine: AsyncEngine, tables: Sequence[str]) -> bool: ...


_KINDS: Mapping[str, _DatabaseKind] = {"sqlite": sqlite, "postgresql": postgresql}


class Database:
    """Hands out connections, each inside one transaction.

    Errors of the driver leave it as those of ``endcap.sdk.errors``. Use it from one event loop.
    """

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT, migrating: bool = False) -> None:
        """Prepare connections.

        Args:
            url: As for ``open_database``, which also looks at the schema.
            lock_timeout: Seconds that a write waits for others to finish.
            migrating: Whether the schema is changed.

        Raises:
            InvalidInput: The URL is not one of a database that Endcap knows.
            FailedPrecondition: The file does not exist, or cannot be written.
        """
        parsed = parse_url(url)
        self._url = url
        kind = self._kind = _KINDS[parsed.get_backend_name()]
        self._engine = kind.create_engine(parsed, lock_timeout=lock_timeout, migrating=migrating)
        self._reading = self._engine.execution_options(**kind.READING)
        self._writing = self._engine.execution_options(**kind.WRITING)
        self._writers = asyncio.Semaphore(kind.WRITERS)
        self._lock_timeout = lock_timeout
        self.damaged = False
        """Whether damage was met: what is stored there is not to be trusted before it is restored."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database, and must not write.

        Raises:
            Unavailable: The database does not answer, or every connection is in use.
            DataLoss: The database is damaged where it was read.
        """
        try:
            async with self._reading.connect() as connection:
                yield connection
        except PoolTimeout as error:
            raise _all_in_use() from error
        except DataLoss:
            self.damaged = True
            raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose changes are durable when the block ends, and undone when it raises.

        Raises:
            Unavailable: Others wrote all the time, or the database does not answer: a commit that it did not
                confirm may be there all the same.
            Exhausted: The disk is full.
            DataLoss: The database is damaged where it was read.
        """
        try:
            async with asyncio.timeout(self._lock_timeout):
                await self._writers.acquire()
        except TimeoutError:
            raise Unavailable("the database is busy with other writes: try again") from None
        try:
            async with self._writing.begin() as connection:
                yield connection
        except PoolTimeout as error:
            raise _all_in_use() from error
        except DataLoss:
            self.damaged = True
            raise
        finally:
            self._writers.release()

    async def read_elsewhere(
        self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _Result]]
    ) -> _Result:
        """Do reading that takes long in a thread with an event loop and a connection of its own.

        So that what the driver and Python make of many rows holds up nobody else. A call that is given up
        ends the work too.

        Args:
            work: Uses the connection alone, and nothing that belongs to another event loop.

        Raises:
            Unavailable: The database does not answer.
            DataLoss: The database is damaged where it was read.
        """
        tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[_Result]]] = []

        async def read() -> _Result:
            task = cast("asyncio.Task[_Result]", asyncio.current_task())
            tasks.append((asyncio.get_running_loop(), task))
            database = Database(self._url, lock_timeout=self._lock_timeout)
            try:
                async with database.read() as connection:
                    return await work(connection)
            finally:
                self.damaged |= database.damaged
                await database.close()

        try:
            return await asyncio.to_thread(asyncio.run, read())
        except asyncio.CancelledError:
            for loop, task in tasks:
                with suppress(RuntimeError):  # it is over by now
                    loop.call_soon_threadsafe(task.cancel)
            raise

    async def erase_deleted(self, tables: Sequence[str]) -> bool:
        """Take from the files what was deleted from tables, where others let it go, and from memory.

        Returns:
            Whether that is done; if not, somebody reads an older state, or writes: try again.

        Raises:
            Unavailable: The database does not answer.
        """
        # A compiled statement keeps the values that the first one of its form had.
        self._engine.clear_compiled_cache()
        return await self._kind.erase_deleted(self._engine, tables)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def open_database(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> Database:
    """Open a database that holds the schema of this release.

    Args:
        url: ``sqlite:///`` and the path of a file, or ``postgresql://user:password@host/name``.
        lock_timeout: Seconds that a write waits for others to finish.

    Raises:
        InvalidInput: The URL is not one of a database that Endcap knows.
        FailedPrecondition: The database or its schema is missing, the schema is older or newer, the user is
            refused, or a file cannot be written.
        Unavailable: The database does not answer.
        DataLoss: The database is damaged.
    """
    database = Database(url, lock_timeout=lock_timeout)
    try:
        async with database.read() as connection:
            require_current(await connection.run_sync(schema_version))
    except BaseException:
        await database.close()
        raise
    return database


def parse_url(url: str) -> URL:
    """Read the URL of a database.

    Raises:
        InvalidInput: It is not one of a database that Endcap knows.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the second is that of a port which is no number
        parsed = None
    if parsed is None or parsed.get_backend_name() not in _KINDS:
        raise InvalidInput(
            "the database URL must look like sqlite:///folder/endcap.db or postgresql://user@host/endcap"
        )
    return parsed


def _all_in_use() -> Unavailable:
    return Unavailable("every connection to the database is in use: try again")

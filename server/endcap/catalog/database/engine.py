"""The database: reading and writing transactions, and driver errors as errors of ``endcap.sdk.errors``."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, Self, TypeVar, cast

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from endcap.catalog.database import postgresql, sqlite
from endcap.catalog.database.schema import require_current, schema_version
from endcap.sdk.errors import DataLoss, InvalidInput, Unavailable


_Result = TypeVar("_Result")

LOCK_TIMEOUT = 5.0
"""The default of the seconds that a write waits for other writes to finish."""


class _DatabaseKind(Protocol):
    """A module that knows one kind of database."""

    READING: Mapping[str, object]
    WRITING: Mapping[str, object]
    WRITERS: int

    def create_engine(self, url: URL, *, lock_timeout: float, migrating: bool = False) -> AsyncEngine: ...

    async def erase_deleted(self, engine: AsyncEngine, tables: Sequence[str]) -> bool: ...


_KINDS: Mapping[str, _DatabaseKind] = {"sqlite": sqlite, "postgresql": postgresql}


class Database:
    """Hands out connections, each in one transaction.

    Errors of the driver are raised as errors of ``endcap.sdk.errors``. Use a database from one event loop.
    """

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT, migrating: bool = False) -> None:
        """Prepare connections.

        Args:
            url: The URL, as for ``open_database``, which also checks the schema.
            lock_timeout: Seconds that a write waits for other writes to finish.
            migrating: Whether to change the schema.

        Raises:
            InvalidInput: The URL is not that of a supported database.
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
        """Whether damage was found: the content is not to be trusted before the database is restored."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database and must not write.

        Raises:
            Unavailable: The database does not answer, or every connection is in use.
            DataLoss: The database is damaged where it was read.
        """
        with self._our_errors():
            async with self._reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose changes are durable when the block ends, and undone if the block raises.

        Raises:
            Unavailable: Other writes kept the lock, or the database does not answer; an unconfirmed commit
                may have been stored.
            Exhausted: The disk is full.
            DataLoss: The database is damaged where it was read.
        """
        try:
            async with asyncio.timeout(self._lock_timeout):
                await self._writers.acquire()
        except TimeoutError:
            raise Unavailable("the database is busy with other writes: try again") from None
        try:
            with self._our_errors():
                async with self._writing.begin() as connection:
                    yield connection
        finally:
            self._writers.release()

    async def read_elsewhere(
        self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _Result]]
    ) -> _Result:
        """Run long reading in a separate thread with its own event loop and connection.

        Processing many rows then does not block the caller's event loop. Cancelling the call cancels the
        work too.

        Args:
            work: The work; it may use the connection, but no object of another event loop.

        Raises:
            Unavailable: The database does not answer.
            DataLoss: The database is damaged where it was read.
        """
        tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[_Result]]] = []

        async def read() -> _Result:
            task = cast("asyncio.Task[_Result]", asyncio.current_task())
            tasks.append((asyncio.get_running_loop(), task))
            async with Database(self._url, lock_timeout=self._lock_timeout) as database:
                try:
                    async with database.read() as connection:
                        return await work(connection)
                finally:
                    self.damaged |= database.damaged

        try:
            return await asyncio.to_thread(asyncio.run, read())
        except asyncio.CancelledError:
            for loop, task in tasks:
                with suppress(RuntimeError):  # the loop is closed by now
                    loop.call_soon_threadsafe(task.cancel)
            raise

    async def erase_deleted(self, tables: Sequence[str]) -> bool:
        """Erase deleted rows of tables from the database's files, and from memory.

        Returns:
            Whether this succeeded. If False, a transaction reads an older state or writes: try again.

        Raises:
            Unavailable: The database does not answer.
        """
        # A compiled statement keeps the values of its first execution.
        self._engine.clear_compiled_cache()
        return await self._kind.erase_deleted(self._engine, tables)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        """Remember damage, and map the error of a pool without a free connection."""
        try:
            yield
        except PoolTimeout as error:
            raise Unavailable("every connection to the database is in use: try again") from error
        except DataLoss:
            self.damaged = True
            raise


async def open_database(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> Database:
    """Open a database that holds the schema of this release.

    Args:
        url: ``sqlite:///`` and the path of a file, or ``postgresql://user:password@host/name``.
        lock_timeout: Seconds that a write waits for other writes to finish.

    Raises:
        InvalidInput: The URL is not that of a supported database.
        FailedPrecondition: The database or its schema is missing, the schema is older or newer, the user is
            rejected, or a file cannot be written.
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
    """Parse the URL of a database.

    Raises:
        InvalidInput: The URL is not that of a supported database.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        parsed = None
    if parsed is None or parsed.get_backend_name() not in _KINDS:
        raise InvalidInput(
            "the database URL must look like sqlite:///folder/endcap.db or postgresql://user@host/endcap"
        )
    return parsed

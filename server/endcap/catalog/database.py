"""The database: transactions that read, transactions that write, and errors in our own terms."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from endcap.catalog import sqlite
from endcap.catalog.schema import require_current, schema_version
from endcap.sdk.errors import FailedPrecondition, InvalidInput, Unavailable


LOCK_TIMEOUT = 5.0
"""Seconds that a write waits for others to finish, unless told otherwise."""


class Database:
    """Hands out connections, each inside one transaction.

    Errors of the driver leave it as those of ``endcap.sdk.errors``. Use it from one event loop.
    """

    def __init__(self, engine: AsyncEngine, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._engine = engine
        self._writing_engine = engine.execution_options(**{sqlite.WRITES: True})
        self._lock_timeout = lock_timeout
        # SQLite polls for its lock with growing pauses; among our own writers a queue is faster and fair.
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database, and must not write."""
        with _our_errors():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose changes are durable when the block ends, and undone when it raises.

        Raises:
            Unavailable: Others wrote all the time.
            Exhausted: The disk is full.
        """
        try:
            async with asyncio.timeout(self._lock_timeout):
                await self._writer.acquire()
        except TimeoutError:
            raise Unavailable("the database is busy with other writes: try again") from None
        try:
            with _our_errors():
                async with self._writing_engine.begin() as connection:
                    yield connection
        finally:
            self._writer.release()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def open_database(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> Database:
    """Open a database that holds the schema of this release.

    Args:
        url: ``sqlite:///`` and the path of a file.
        lock_timeout: Seconds that a write waits for others to finish.

    Raises:
        InvalidInput: The URL is not one of a database that Endcap knows.
        FailedPrecondition: The schema is missing, older or newer, or the file cannot be written.
        DataLoss: The file is damaged.
    """
    parsed = parse_url(url)
    if not sqlite.database_file(parsed).exists():
        raise FailedPrecondition(f"{parsed.database} does not exist: create it with 'endcap migrate'")
    database = Database(sqlite.create_engine(parsed, lock_timeout=lock_timeout), lock_timeout=lock_timeout)
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
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite":
        raise InvalidInput("the database URL must look like sqlite:///folder/endcap.db")
    return parsed


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        meant = sqlite.meaning(error)
        if meant is None:
            raise
        raise meant from error
    except PoolTimeout as error:
        raise Unavailable("every connection to the database is in use: try again") from error

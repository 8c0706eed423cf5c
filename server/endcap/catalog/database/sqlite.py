"""SQLite: opening a database, beginning transactions, mapping errors."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from endcap.catalog.database.sqlite_driver import connect
from endcap.sdk.errors import DataLoss, EndcapError, Exhausted, FailedPrecondition, InvalidInput, Unavailable


READING: Mapping[str, object] = {}
"""The execution options of a connection that sees one state and writes nothing."""

WRITING: Mapping[str, object] = {"endcap_writes": True}
"""The execution options of a connection that writes."""

WRITERS = 1
"""Concurrent writing transactions of this process.

SQLite polls for its lock with growing pauses; within one process a queue is faster and fair.
"""

_PRIMARY_CODE = 0xFF
_FILE = "endcap_file"  # key under which a connection notes its open file


def create_engine(url: URL, *, lock_timeout: float, migrating: bool = False) -> AsyncEngine:
    """Create an engine with durable connections.

    Args:
        url: The URL of the file.
        lock_timeout: Seconds to wait while another process writes.
        migrating: Whether to change the schema: the file may be missing, and references are not checked
            because a migration may rebuild a table.

    Raises:
        InvalidInput: The URL names no file.
        FailedPrecondition: The file does not exist, or it or its folder cannot be written.
    """
    file = database_file(url)
    if migrating:
        file.parent.mkdir(parents=True, exist_ok=True)
    elif not file.exists():
        raise FailedPrecondition(f"{file} does not exist: create it with 'endcap migrate'")
    _check_writable(file)
    # A connection opened after the file was deleted must not create an empty file.
    path = f"file:{quote(str(file))}?mode={'rwc' if migrating else 'rw'}"
    engine = create_async_engine(
        "sqlite+aiosqlite:///file", async_creator=partial(connect, path, lock_timeout=lock_timeout)
    )
    # WAL lets readers and the writer work concurrently; FULL syncs the log at every commit. Deleted rows are
    # overwritten with zeros, because they may belong to a user who asked to be forgotten.
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        f"foreign_keys={'OFF' if migrating else 'ON'}",
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[_FILE] = _identity(file)
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "checkout")
    def _refuse_another_file(
        _connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        if not _is_there(file, entry.info):
            raise DisconnectionError  # the pool opens the current file, if any

    @event.listens_for(engine.sync_engine, "commit")
    def _refuse_to_lose(connection: Connection) -> None:
        if not _is_there(file, connection.info):
            raise Unavailable("the database file was deleted or replaced: try again; nothing was stored")

    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "handle_error", lambda context: meaning_of(context.original_exception))
    return engine


async def erase_deleted(engine: AsyncEngine, _: Sequence[str]) -> bool:
    """Truncate the log, so that it holds no old page; deleted rows in the file are zeros already.

    Returns:
        Whether this succeeded. If False, a transaction reads an older state or writes.
    """
    async with engine.connect() as connection:
        # On the driver's connection, because SQLAlchemy would begin a transaction.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        cursor = driver.cursor()
        await cursor.execute("PRAGMA busy_timeout")
        (timeout,) = await cursor.fetchone()
        # Waiting here for a reader would block writers.
        await cursor.execute("PRAGMA busy_timeout = 0")
        try:
            await cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            is_busy, _, _ = await cursor.fetchone()
        finally:
            await cursor.execute(f"PRAGMA busy_timeout = {timeout}")
    return not is_busy


def database_file(url: URL) -> Path:
    """Return the file that a URL names.

    Raises:
        InvalidInput: The URL names no file.
    """
    if not url.database or url.database == ":memory:":
        raise InvalidInput("the database must be a file: write the URL as sqlite:///folder/endcap.db")
    return Path(url.database)


def meaning_of(cause: BaseException) -> EndcapError | None:
    """Return the error that a failure of SQLite means to a caller; None for a bug of Endcap."""
    if not isinstance(cause, sqlite3.DatabaseError):
        return None
    code = getattr(cause, "sqlite_errorcode", 0)
    if code & _PRIMARY_CODE in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DataLoss("the database file is damaged: restore it from a backup")
    if not isinstance(cause, sqlite3.OperationalError):
        return None
    if code & _PRIMARY_CODE == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE:
        return Exhausted("the disk of the database is full: free some space; nothing was stored")
    if code & _PRIMARY_CODE in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable("another process is writing to the database: try again")
    return Unavailable("the database does not answer: try again, and check its file and disk")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another process wrote in between,
    # whatever the timeout. A transaction that takes the lock at the start waits for it.
    writes = connection.get_execution_options().get("endcap_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _identity(file: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, or None if the file does not exist."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_there(file: Path, info: Mapping[Any, Any]) -> bool:
    """Return whether a connection's open file is still the file of that name.

    A deleted file accepts writes for as long as it is open, and loses them afterwards.
    """
    found = _identity(file)
    return found is not None and found == info[_FILE]


def _check_writable(file: Path) -> None:
    for path in (file.parent, file):
        if path.exists() and not os.access(path, os.W_OK):
            raise FailedPrecondition(
                f"{path} cannot be written: give this user permission, or choose another folder"
            )

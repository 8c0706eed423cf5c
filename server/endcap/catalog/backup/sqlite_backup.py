"""Backups of SQLite: a backup is itself a database file."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from endcap.catalog.database.migration import migrate
from endcap.catalog.database.sqlite import database_file, meaning_of
from endcap.sdk.errors import DataLoss, FailedPrecondition


NAME = "SQLite"

MAGIC = b"SQLite format 3\0"


async def back_up(url: URL, file: Path) -> None:
    """Write a database to a new file, without unused space."""
    source = database_file(url)
    if not source.exists():
        raise FailedPrecondition(f"{source} does not exist: create it with 'endcap migrate'")
    await asyncio.to_thread(_write, source, file)


async def check(file: Path) -> str | None:
    """Check that a backup is complete, and return its schema version.

    Raises:
        DataLoss: The backup is damaged.
    """
    return await asyncio.to_thread(_check, file)


async def restore(url: URL, file: Path, amend: Callable[[str], Awaitable[None]]) -> None:
    """Replace a database in one transaction by the amended backup; create a missing file."""
    target = database_file(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".restore-") as folder:
        copy = Path(folder) / "endcap.db"
        await asyncio.to_thread(shutil.copyfile, file, copy)
        await migrate(f"sqlite:///{copy}")
        await amend(f"sqlite:///{copy}")
        await asyncio.to_thread(_replace, target, copy)


def _write(source: Path, file: Path) -> None:
    with _our_errors(), closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(file),))


def _check(file: Path) -> str | None:
    with _our_errors(), closing(sqlite3.connect(file)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise DataLoss(f"{file} is damaged: use another backup")
        query = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.execute(query).fetchone() is None:
            return None
        version: str
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return version


def _replace(target: Path, copy: Path) -> None:
    """Copy every page; other processes see the old database until the last page is copied."""
    with (
        _our_errors(),
        closing(sqlite3.connect(copy)) as source,
        closing(sqlite3.connect(target, isolation_level=None)) as connection,
    ):
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        source.backup(connection)
        # No old content stays in the log, unless another process still reads it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        meant = meaning_of(error)
        if meant is None:
            raise
        raise meant from error

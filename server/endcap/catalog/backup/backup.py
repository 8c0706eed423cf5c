"""Backups: the whole content of a database in one file, written and restored while servers run.

A backup does not hold the files of models, which are folders that never change and can be copied as they are.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL

from endcap.catalog.backup import postgresql_backup, sqlite_backup
from endcap.catalog.database.engine import Database, open_database, parse_url
from endcap.catalog.database.migration_plan import stored_schema
from endcap.catalog.database.revisions import jump_past, read_revisions
from endcap.catalog.database.schema import reject_newer
from endcap.catalog.people.deleted_people import DeletedPeople, read_deleted_people
from endcap.catalog.people.forgetting import erase_forgotten, forget_again
from endcap.sdk.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound


class _BackupKind(Protocol):
    """A module that backs up one kind of database."""

    NAME: str
    MAGIC: bytes
    """The first bytes of a backup file of this kind."""

    async def back_up(self, url: URL, file: Path) -> None: ...

    async def check(self, file: Path) -> str | None: ...

    async def restore(self, url: URL, file: Path, amend: Callable[[str], Awaitable[None]]) -> None:
        """Restore, and call ``amend`` with the URL of a database that holds the restored content."""


_KINDS: Mapping[str, _BackupKind] = {"sqlite": sqlite_backup, "postgresql": postgresql_backup}


async def back_up(url: str, file: Path) -> None:
    """Write the content of a database at one moment to a new file, which appears once it is checked.

    Servers may write meanwhile. Everything acknowledged before the call is in the file.

    Args:
        url: The URL of the database, as for ``open_database``.
        file: The new file, in an existing folder.

    Raises:
        InvalidInput: The URL is not that of a supported database, or the folder does not exist.
        AlreadyExists: The file exists.
        FailedPrecondition: The database does not exist, or a required program is missing.
        Exhausted: The disk is full.
        Unavailable: The database does not answer.
        DataLoss: The database is damaged.
    """
    parsed = parse_url(url)
    _check_new(file)
    kind = _KINDS[parsed.get_backend_name()]
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    try:
        await kind.back_up(parsed, part)
        await kind.check(part)
        _sync(part)
        part.rename(file)
        _sync(file.parent)
    finally:
        part.unlink(missing_ok=True)


async def restore(url: str, file: Path, *, replace: bool = False) -> int:
    """Restore a database from a backup, and migrate it to the schema of this release.

    Nothing is changed unless the backup is complete. Running servers take over the restored content when they
    next refresh. People who were deleted from a replaced shop stay deleted: they are forgotten again in the
    restored content. A database without that shop has no record of deletions.

    Args:
        url: Of the database, as for ``open_database``; a missing file is created.
        file: The backup.
        replace: Whether to replace shops that the database holds.

    Returns:
        The number of users and visitors of the backup that were forgotten again.

    Raises:
        InvalidInput: The URL is not that of a supported database, or the file is not a backup of its kind.
        NotFound: The file does not exist.
        FailedPrecondition: The database holds shops, the backup is of a newer release, or a required
            program is missing.
        Unavailable: The database does not answer, or other writes kept the lock.
        Exhausted: The disk is full.
        DataLoss: The backup or the database is damaged.
    """
    parsed = parse_url(url)
    kind = _KINDS[parsed.get_backend_name()]
    _check_kind(kind, file)
    reject_newer(await kind.check(file))
    revisions, tombstones = await _look(url)
    if revisions and not replace:
        raise FailedPrecondition(
            "the database holds shops, which a restore would replace: allow this with --replace, or set"
            " ENDCAP_DATABASE_URL to another database"
        )
    count = 0

    async def amend(restored: str) -> None:
        nonlocal count
        async with await open_database(restored) as database:
            async with database.write() as connection:
                for shop, revision in revisions.items():
                    await jump_past(connection=connection, shop=shop, revision=revision)
            for each in tombstones:
                count += await forget_again(database, each)
            await erase_forgotten(database)

    await kind.restore(parsed, file, amend)
    return count


def _check_new(file: Path) -> None:
    if file.exists():
        raise AlreadyExists(f"{file} exists: choose another name")
    if not file.parent.is_dir():
        raise InvalidInput(f"folder {file.parent} does not exist: create it")


def _check_kind(kind: _BackupKind, file: Path) -> None:
    if not file.is_file():
        raise NotFound(f"file {file} does not exist: name a file that 'endcap backup' wrote")
    with file.open("rb") as content:
        start = content.read(16)
    for other in _KINDS.values():
        if start.startswith(other.MAGIC) and other is not kind:
            raise InvalidInput(
                f"{file} is a backup of {other.NAME}: set ENDCAP_DATABASE_URL to a database of that kind"
            )
    if not start.startswith(kind.MAGIC):
        raise InvalidInput(f"{file} is not a backup: name a file that 'endcap backup' wrote")


async def _look(url: str) -> tuple[dict[str, int], list[DeletedPeople]]:
    """Return the revisions of the shops that a database holds, and its tombstones."""
    if await stored_schema(url) is None:
        return {}, []
    async with Database(url) as database, database.read() as connection:
        return await read_revisions(connection), await read_deleted_people(connection)


def _sync(path: Path) -> None:
    """Sync a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

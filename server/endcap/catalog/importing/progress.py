"""The progress of an import, stored in the database together with the imported rows.

One transaction writes rows and the position after them in the file, so that both agree after a crash. The
progress is kept until the whole import is done.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import upsert
from endcap.catalog.database.tables import IMPORTS
from endcap.catalog.importing.table_files.table_file import START, Position


_SAMPLE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class FileProgress:
    """The progress of one file."""

    position: Position = START

    stored: int = 0
    """Rows that were written."""

    duplicates: int = 0
    """Events that were stored before."""

    rejected: Mapping[str, int] = field(default_factory=dict)
    """Number of rejected rows, by reason."""

    rejects_size: int = 0
    """Size of the file of rejected rows, in bytes."""


def fingerprint(path: Path, meaning: Iterable[str]) -> str:
    """Return a fingerprint of a file, computed from its size, time, beginning and end.

    Args:
        path: The file.
        meaning: Further texts that decide how the rows are read.
    """
    digest = hashlib.blake2b(digest_size=16)
    about = path.stat()
    with path.open("rb") as stream:
        beginning = stream.read(_SAMPLE_BYTES)
        stream.seek(max(0, about.st_size - _SAMPLE_BYTES))
        end = stream.read(_SAMPLE_BYTES)
    for part in (f"{about.st_size} {about.st_mtime_ns}", *meaning):
        digest.update(part.encode() + b"\x1f")
    digest.update(beginning)
    digest.update(end)
    return digest.hexdigest()


async def load_progress(*, connection: AsyncConnection, shop: str, file: str) -> FileProgress | None:
    """Return the progress of a file's import; None before it begins and after it ends.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        file: The file's fingerprint.
    """
    query = select(IMPORTS).where(IMPORTS.c.shop == shop, IMPORTS.c.file == file)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    return FileProgress(
        position=Position(row["offset"], row["line"]),
        stored=row["stored"],
        duplicates=row["duplicates"],
        rejected=row["rejected"],
        rejects_size=row["rejects_size"],
    )


async def save_progress(*, connection: AsyncConnection, shop: str, file: str, progress: FileProgress) -> None:
    """Store the progress of a file's import, in the transaction that writes its rows."""
    values = {
        "shop": shop,
        "file": file,
        "offset": progress.position.offset,
        "line": progress.position.line,
        "stored": progress.stored,
        "duplicates": progress.duplicates,
        "rejected": dict(progress.rejected),
        "rejects_size": progress.rejects_size,
    }
    await upsert(connection=connection, table=IMPORTS, values=[values])


async def forget_progress(*, connection: AsyncConnection, shop: str, files: Iterable[str]) -> None:
    """Delete the progress of files that are imported completely, so that they can be imported again."""
    await connection.execute(delete(IMPORTS).where(IMPORTS.c.shop == shop, IMPORTS.c.file.in_(list(files))))

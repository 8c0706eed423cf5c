"""The progress of an import, stored in the database together with the imported rows.

One transaction writes rows and the position after them in the file, so that both agree after a crash. The
progress is kept until the whole import is done.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import upsert
from endcap.catalog.database.tables import IMPORTS
from endcap.catalog.importing.table_files.table_file import START, Position


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

    def after(
        self,
        position: Position,
        *,
        stored: int,
        duplicates: int,
        rejected: Mapping[str, int],
        rejects_size: int,
    ) -> "FileProgress":
        """Return the progress after a batch of so many rows, which ends at a position."""
        return FileProgress(
            position,
            self.stored + stored,
            self.duplicates + duplicates,
            Counter(self.rejected) + Counter(rejected),
            rejects_size,
        )


async def load_progress(
    *, connection: AsyncConnection, shop: str, files: Iterable[str]
) -> dict[str, FileProgress]:
    """Return how far files are imported, without those whose import was not begun, or is done.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        files: The files' fingerprints.
    """
    query = select(IMPORTS).where(IMPORTS.c.shop == shop, IMPORTS.c.file.in_(list(files)))
    return {
        row["file"]: FileProgress(
            position=Position(row["offset"], row["line"]),
            stored=row["stored"],
            duplicates=row["duplicates"],
            rejected=row["rejected"],
            rejects_size=row["rejects_size"],
        )
        for row in (await connection.execute(query)).mappings()
    }


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

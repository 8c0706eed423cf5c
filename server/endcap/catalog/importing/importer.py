"""Import: files of items, users and events into a shop, in constant memory, on from where it was stopped.

A row that cannot be read costs itself alone: it goes to a file with the reason. The rows of a batch, and
how far the file is read, are written in one transaction.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.importing.progress import forget_progress, load_progress, save_progress
from endcap.catalog.importing.reading import Batch, SourceReader
from endcap.catalog.importing.reject_file import RejectFile
from endcap.catalog.importing.report import ImportReport, report_import
from endcap.catalog.importing.sources import AS_IT_IS, Layout, Source, find_sources
from endcap.catalog.importing.storing import BatchOutcome, foresee_batch, foresee_first_batch, store_batch
from endcap.sdk.errors import NotFound


@dataclass(frozen=True, slots=True)
class ImportStep:
    """The progress that an import reports while it runs."""

    source: Source

    share: float
    """The share of the file that is done, 0 to 1."""

    lines: int
    """The number of its lines that are done."""


async def import_folder(
    database: Database, shop: str, folder: Path, *, now: int, currency: str = ""
) -> ImportReport:
    """Import the files of a folder that are named for what they hold; see ``import_files``."""
    return await import_files(database, shop, find_sources(folder), now=now, currency=currency)


async def import_files(
    database: Database,
    shop: str,
    sources: Sequence[Source],
    *,
    now: int,
    currency: str = "",
    layout: Layout = AS_IT_IS,
    rejects: Path | None = None,
    tell: Callable[[ImportStep], None] = lambda _: None,
) -> ImportReport:
    """Import files into a shop that exists.

    When it is stopped, whatever stops it, the next call with the same files goes on from there.

    Args:
        database: Where the shop is.
        shop: Its id.
        sources: The files, in the order in which they are imported.
        now: Unix milliseconds; the creation time of items and users that have none.
        currency: ISO 4217 code of the prices of rows that name none; empty for the shop's.
        layout: What the files call their columns.
        rejects: A file for the rows that are left out; it appears with the first one.
        tell: Called after each batch.

    Raises:
        InvalidInput: A file or a column is missing, or a file is not of its format.
        FailedPrecondition: The file for rejected rows cannot be written.
        NotFound: The shop does not exist.
    """
    readers = [SourceReader(source, layout, currency=currency, now=now) for source in sources]
    async with database.read() as connection:
        into = await get_shop(connection=connection, shop=shop)
        files = [reader.fingerprint for reader in readers]
        begun = await load_progress(connection=connection, shop=shop, files=files)
    for reader in readers:
        reader.progress = begun.get(reader.fingerprint, reader.progress)
    # What was written after the last commit is going to be written again.
    kept = max(reader.progress.rejects_size for reader in readers)
    reject_file = RejectFile(rejects, size=kept)
    for reader in readers:
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                async with database.write() as connection:
                    written = await store_batch(connection=connection, shop=into, batch=batch, now=now)
                    rejected = reject_file.write(reader.source.path.name, batch, written.refused)
                    reader.progress = reader.progress.after(
                        batch.position,
                        stored=len(batch.lines) - len(written.refused) - written.duplicates,
                        duplicates=written.duplicates,
                        rejected=rejected,
                        rejects_size=reject_file.size,
                    )
                    await save_progress(
                        connection=connection, shop=shop, file=reader.fingerprint, progress=reader.progress
                    )
                tell(ImportStep(reader.source, batch.share, batch.position.line))
    async with database.write() as connection:
        await forget_progress(connection=connection, shop=shop, files=files)
    notes = [f"{rejects} lacks rows that were rejected before the import was stopped"] * reject_file.lost
    return report_import(readers, resumed=bool(begun), notes=notes)


async def check_files(
    database: Database | None,
    shop: str,
    sources: Sequence[Source],
    *,
    now: int,
    currency: str = "",
    layout: Layout = AS_IT_IS,
    rejects: Path | None = None,
    tell: Callable[[ImportStep], None] = lambda _: None,
) -> ImportReport:
    """Read files as an import does, look at what is stored, and store nothing; see ``import_files``.

    A row is compared with what is stored and with the rows before it that were read at the same time, which
    are up to 10,000. What rows further up the files would change is not seen.

    Args:
        database: Where the shop is; None where there is none yet.
        shop: Its id; one that does not exist is empty.
        sources: The files.
        now: Unix milliseconds.
        currency: ISO 4217 code of the prices of rows that name none.
        layout: What the files call their columns.
        rejects: A file for the rows that would be left out.
        tell: Called after each batch.

    Raises:
        InvalidInput: A file or a column is missing, or a file is not of its format.
        FailedPrecondition: The file for rejected rows cannot be written.
    """
    readers = [SourceReader(source, layout, currency=currency, now=now) for source in sources]
    reject_file = RejectFile(rejects, size=0)
    for reader in readers:
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                foreseen = await _foresee(database, shop, batch)
                rejected = reject_file.write(reader.source.path.name, batch, foreseen.refused)
                reader.progress = reader.progress.after(
                    batch.position,
                    stored=len(batch.lines) - len(foreseen.refused) - foreseen.duplicates,
                    duplicates=foreseen.duplicates,
                    rejected=rejected,
                    rejects_size=reject_file.size,
                )
                tell(ImportStep(reader.source, batch.share, batch.position.line))
    return report_import(readers, resumed=False)


async def _foresee(database: Database | None, shop: str, batch: Batch) -> BatchOutcome:
    if database is None:
        return foresee_first_batch(batch)
    async with database.read() as connection:
        try:
            into = await get_shop(connection=connection, shop=shop)
        except NotFound:
            return foresee_first_batch(batch)
        return await foresee_batch(connection=connection, shop=into, batch=batch)

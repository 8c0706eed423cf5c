"""Import: files of items, users and events into a shop, in constant memory, resuming where it was stopped.

A row that cannot be read is rejected alone: it goes to a file, with the reason. One transaction writes the
rows of a batch and the position in the file.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from endcap.catalog.configuration.shops import find_shop, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.importing.progress import forget_progress, load_progress, save_progress
from endcap.catalog.importing.reading import Batch, SourceReader
from endcap.catalog.importing.reject_file import RejectFile
from endcap.catalog.importing.report import ImportReport, report_import
from endcap.catalog.importing.sources import AS_IT_IS, Layout, Source, find_sources
from endcap.catalog.importing.storing import BatchOutcome, foresee_batch, foresee_first_batch, store_batch


@dataclass(frozen=True, slots=True)
class ImportStep:
    """The progress that an import reports while it runs."""

    source: Source

    share: float
    """The share of the file that is done, from 0 to 1."""

    lines: int
    """The number of lines of the file that are done."""


async def import_folder(
    database: Database, shop: str, folder: Path, *, now: int, currency: str = ""
) -> ImportReport:
    """Import the files of a folder that are named items, users and events; see ``import_files``."""
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

    If the import is stopped for any reason, the next call with the same files resumes it.

    Args:
        database: The database of the shop.
        shop: The shop's id.
        sources: The files, in the order in which they are imported.
        now: Unix milliseconds; the creation time of items and users whose rows give none.
        currency: ISO 4217 code of prices in rows without a currency; empty for the shop's currency.
        layout: The names that the files give their columns.
        rejects: A file for rejected rows, created with the first of them; None to write no file.
        tell: Called with the progress after each batch.

    Raises:
        InvalidInput: A file or a column is missing, or a file is malformed.
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
    # Rejected rows that were written after the last commit are going to be written again.
    kept = max(reader.progress.rejects_size for reader in readers)
    reject_file = RejectFile(rejects, size=kept)
    for reader in readers:
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                async with database.write() as connection:
                    written = await store_batch(connection=connection, shop=into, batch=batch, now=now)
                    _advance(reader, batch, written, reject_file)
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
    """Read files as an import does and compare them with the shop, but store nothing; see ``import_files``.

    A row is compared with the stored state and with earlier rows of its batch of up to 10,000. Changes by
    earlier batches are not seen.

    Args:
        database: The database of the shop; None if the database does not exist yet.
        shop: The shop's id; a shop that does not exist counts as empty.
        sources: The files.
        now: Unix milliseconds.
        currency: ISO 4217 code of prices in rows without a currency.
        layout: The names that the files give their columns.
        rejects: A file for the rows that would be rejected; None to write no file.
        tell: Called with the progress after each batch.

    Raises:
        InvalidInput: A file or a column is missing, or a file is malformed.
        FailedPrecondition: The file for rejected rows cannot be written.
    """
    readers = [SourceReader(source, layout, currency=currency, now=now) for source in sources]
    reject_file = RejectFile(rejects, size=0)
    for reader in readers:
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                foreseen = await _foresee(database, shop, batch)
                _advance(reader, batch, foreseen, reject_file)
                tell(ImportStep(reader.source, batch.share, batch.position.line))
    return report_import(readers, resumed=False)


async def _foresee(database: Database | None, shop: str, batch: Batch) -> BatchOutcome:
    if database is None:
        return foresee_first_batch(batch)
    async with database.read() as connection:
        into = await find_shop(connection=connection, shop=shop)
        if into is None:
            return foresee_first_batch(batch)
        return await foresee_batch(connection=connection, shop=into, batch=batch)


def _advance(reader: SourceReader, batch: Batch, outcome: BatchOutcome, reject_file: RejectFile) -> None:
    """Write the rejected rows of a batch, and count the batch as read."""
    rejected = reject_file.write(reader.source.path.name, batch, outcome.refused)
    reader.progress = reader.progress.after(
        batch.position,
        stored=len(batch.lines) - len(outcome.refused) - outcome.duplicates,
        duplicates=outcome.duplicates,
        rejected=rejected,
        rejects_size=reject_file.size,
    )

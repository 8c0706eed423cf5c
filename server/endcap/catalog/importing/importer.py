"""Import: files of items, users and events into a shop, in constant memory, resuming where it was stopped.

A row that cannot be read is rejected alone: it goes to a file, with the reason. One transaction writes the
rows of a batch and the position in the file.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.importing.progress import FileProgress, forget_progress, load_progress, save_progress
from endcap.catalog.importing.reading import Batch, SourceReader
from endcap.catalog.importing.reject_file import RejectFile
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import AS_IT_IS, Layout, Source, describe_unread, find_sources
from endcap.catalog.importing.storing import BatchOutcome, foresee_batch, foresee_first_batch, store_batch
from endcap.sdk.errors import NotFound


@dataclass(frozen=True, slots=True)
class ImportStep:
    """The progress that an import reports while it runs."""

    source: Source

    share: float
    """The share of the file that is done, from 0 to 1."""

    lines: int
    """The number of lines of the file that are done."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import as numbers of rows, including rows from before it was stopped."""

    items: int = 0
    users: int = 0
    events: int = 0

    duplicates: int = 0
    """Events that were stored before."""

    rejected: Mapping[str, int] = field(default_factory=dict)
    """Number of rejected rows, by file and reason."""

    resumed: bool = False
    """Whether the import continued one that had been stopped."""

    notes: Sequence[str] = ()
    """Further notes for the operator."""


def say_nothing(_: ImportStep) -> None:
    """Report no progress."""


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
    tell: Callable[[ImportStep], None] = say_nothing,
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
        resumed = await _resume(connection, shop, readers)
    # Rejects that were written after the last commit will be written again.
    kept = max(reader.progress.rejects_size for reader in readers)
    reject_file = RejectFile(rejects, size=kept)
    for reader in readers:
        async with aclosing(_ahead(reader.batches())) as batches:
            async for batch in batches:
                async with database.write() as connection:
                    written = await store_batch(connection=connection, shop=into, batch=batch, now=now)
                    _note(reader, batch, written, reject_file)
                    await save_progress(
                        connection=connection, shop=shop, file=reader.fingerprint, progress=reader.progress
                    )
                tell(_step(reader))
    async with database.write() as connection:
        files = [reader.fingerprint for reader in readers]
        await forget_progress(connection=connection, shop=shop, files=files)
    notes = [f"{rejects} lacks rows that were rejected before the import was stopped"] * reject_file.lost
    return _report(readers, resumed=resumed, notes=notes)


async def check_files(
    database: Database | None,
    shop: str,
    sources: Sequence[Source],
    *,
    now: int,
    currency: str = "",
    layout: Layout = AS_IT_IS,
    rejects: Path | None = None,
    tell: Callable[[ImportStep], None] = say_nothing,
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
        async with aclosing(_ahead(reader.batches())) as batches:
            async for batch in batches:
                _note(reader, batch, await _foresee(database, shop, batch), reject_file)
                tell(_step(reader))
    return _report(readers, resumed=False)


async def _foresee(database: Database | None, shop: str, batch: Batch) -> BatchOutcome:
    if database is None:
        return foresee_first_batch(batch)
    async with database.read() as connection:
        try:
            into = await get_shop(connection=connection, shop=shop)
        except NotFound:
            return foresee_first_batch(batch)
        return await foresee_batch(connection=connection, shop=into, batch=batch)


async def _resume(connection: AsyncConnection, shop: str, readers: Sequence[SourceReader]) -> bool:
    """Set readers to where their import was stopped, and return whether any was stopped."""
    found = False
    for reader in readers:
        progress = await load_progress(connection=connection, shop=shop, file=reader.fingerprint)
        if progress is not None:
            reader.progress = progress
            found = True
    return found


async def _ahead(batches: Iterator[Batch]) -> AsyncGenerator[Batch]:
    """Yield batches while a thread reads the next one."""
    upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while (batch := await upcoming) is not None:
            upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            yield batch
    finally:
        upcoming.cancel()


def _note(reader: SourceReader, batch: Batch, written: BatchOutcome, reject_file: RejectFile) -> None:
    """Write the rejected rows of a batch to their file, and update the reader's progress."""
    refused = [*batch.rejects]
    if written.refused:
        reasons = {place: (each.reason, each.complaint) for place, each in written.refused.items()}
        refused += reader.rejects(batch, reasons)
    if refused:
        reject_file.write(reader.source.path.name, refused)
    progress = reader.progress
    not_stored = len(written.refused) + written.duplicates
    reader.progress = FileProgress(
        position=batch.position,
        stored=progress.stored + len(batch.lines) - not_stored,
        duplicates=progress.duplicates + written.duplicates,
        rejected=Counter(progress.rejected) + Counter(reject.reason for reject in refused),
        rejects_size=reject_file.size,
    )


def _step(reader: SourceReader) -> ImportStep:
    position = reader.progress.position
    return ImportStep(reader.source, position.offset / reader.size, position.line)


def _report(readers: Sequence[SourceReader], *, resumed: bool, notes: Sequence[str] = ()) -> ImportReport:
    stored = Counter[Subject]()
    rejected = Counter[str]()
    for reader in readers:
        stored[reader.source.subject] += reader.progress.stored
        for reason, count in reader.progress.rejected.items():
            rejected[f"{reader.source.path.name}: {reason}"] += count
    return ImportReport(
        items=stored[Subject.ITEMS],
        users=stored[Subject.USERS],
        events=stored[Subject.EVENTS],
        duplicates=sum(reader.progress.duplicates for reader in readers),
        rejected=rejected,
        resumed=resumed,
        notes=(*_unread(readers), *notes),
    )


def _unread(readers: Sequence[SourceReader]) -> Iterator[str]:
    """Yield a note for each file with columns that the import does not read."""
    for path in dict.fromkeys(reader.source.path for reader in readers):
        of_path = [reader for reader in readers if reader.source.path == path]
        read = frozenset[str]().union(*(reader.read_names for reader in of_path))
        unread = describe_unread(of_path[0].names, read, [reader.source.subject for reader in of_path])
        if unread:
            yield f"{path.name}: {unread}"

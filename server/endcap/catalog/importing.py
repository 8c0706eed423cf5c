"""Import: files of items, users and events into a shop, in constant memory, on from where it was stopped.

A row that cannot be read costs itself alone: it goes to a file with the reason. The rows of a batch, and
how far the file is read, are written in one transaction.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.events import Outcome, store_events
from endcap.catalog.import_progress import FileProgress, forget_progress, load_progress, save_progress
from endcap.catalog.import_reading import Batch, SourceReader
from endcap.catalog.import_rows import Subject
from endcap.catalog.import_sources import AS_IT_IS, Layout, Source, find_sources
from endcap.catalog.items import upsert_items
from endcap.catalog.reject_file import Reject, RejectFile
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import get_shop
from endcap.catalog.tombstones import find_deleted
from endcap.catalog.user_records import upsert_user_records


@dataclass(frozen=True, slots=True)
class Step:
    """What an import tells while it runs."""

    source: Source

    share: float
    """How much of the file is done, from 0 to 1."""

    lines: int
    """How many lines of it are done."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, in rows; together with what it had done before it was stopped."""

    items: int = 0
    users: int = 0
    events: int = 0

    duplicates: int = 0
    """Events that were there before."""

    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows that were left out, by file and reason."""

    resumed: bool = False
    """Whether it had been stopped before."""


_REASONS: Mapping[Outcome, str] = {
    Outcome.CONFLICT: "event_id is that of another event",
    Outcome.USER_DELETED: "the user was deleted",
}


def say_nothing(_: Step) -> None:
    """Let an import run in silence."""


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
    tell: Callable[[Step], None] = say_nothing,
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
        NotFound: There is no such shop.
    """
    readers = [SourceReader(source, layout, currency=currency, now=now) for source in sources]
    resumed = await _resume(database, shop, readers)
    # What was written after the last commit is going to be written again.
    kept = max(reader.progress.rejects_size for reader in readers)
    reject_file = RejectFile(rejects, size=kept)
    for reader in readers:
        async with aclosing(_ahead(reader.batches())) as batches:
            async for batch in batches:
                async with database.write() as connection:
                    outcomes = await _store(connection, shop, batch, now)
                    refused = [*batch.rejects, *_refused(reader, batch, outcomes)]
                    reject_file.write(reader.source.path.name, refused)
                    reader.progress = _advance(reader.progress, batch, outcomes, refused, reject_file.size)
                    await save_progress(
                        connection=connection, shop=shop, file=reader.fingerprint, progress=reader.progress
                    )
                tell(Step(reader.source, reader.share, reader.progress.position.line))
    async with database.write() as connection:
        files = [reader.fingerprint for reader in readers]
        await forget_progress(connection=connection, shop=shop, files=files)
    return _report(readers, resumed=resumed)


def check_files(
    sources: Sequence[Source],
    *,
    now: int,
    layout: Layout = AS_IT_IS,
    rejects: Path | None = None,
    tell: Callable[[Step], None] = say_nothing,
) -> ImportReport:
    """Read files as an import does, and store nothing; see ``import_files``.

    What only the database knows is not found: events that are there already, and ids that others have taken.
    """
    readers = [SourceReader(source, layout, currency="", now=now) for source in sources]
    reject_file = RejectFile(rejects, size=0)
    for reader in readers:
        for batch in reader.batches():
            reject_file.write(reader.source.path.name, batch.rejects)
            reader.progress = _advance(reader.progress, batch, (), batch.rejects, reject_file.size)
            tell(Step(reader.source, reader.share, reader.progress.position.line))
    return _report(readers, resumed=False)


async def _resume(database: Database, shop: str, readers: Sequence[SourceReader]) -> bool:
    """Let readers begin where their import was stopped, and say whether one was."""
    found = []
    async with database.read() as connection:
        await get_shop(connection=connection, shop=shop)
        for reader in readers:
            progress = await load_progress(connection=connection, shop=shop, file=reader.fingerprint)
            if progress is not None:
                reader.progress = progress
                found.append(reader)
    return bool(found)


async def _ahead(batches: Iterator[Batch]) -> AsyncGenerator[Batch]:
    """Yield batches, and read the next one in a thread meanwhile."""
    upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while (batch := await upcoming) is not None:
            upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            yield batch
    finally:
        upcoming.cancel()


async def _store(connection: AsyncConnection, shop: str, batch: Batch, now: int) -> Sequence[Outcome]:
    """Write a batch and return what became of its events."""
    if batch.items:
        await upsert_items(connection=connection, shop=shop, items=batch.items, now=now)
    if batch.users:
        await lock_revision(connection=connection, shop=shop)
        named = {user.id for user in batch.users}
        deleted = await find_deleted(connection=connection, shop=shop, users=named)
        users = [user for user in batch.users if user.id not in deleted.users]
        await upsert_user_records(connection=connection, shop=shop, records=users, now=now)
    if not batch.events:
        return ()
    return (await store_events(connection=connection, shop=shop, events=batch.events)).outcomes


def _refused(reader: SourceReader, batch: Batch, outcomes: Sequence[Outcome]) -> Iterator[Reject]:
    """Yield the events of a batch that the shop does not take."""
    for refusal, reason in _REASONS.items():
        places = [place for place, outcome in enumerate(outcomes) if outcome is refusal]
        yield from reader.rejects(batch, places, reason)


def _advance(
    progress: FileProgress,
    batch: Batch,
    outcomes: Sequence[Outcome],
    refused: Sequence[Reject],
    rejects_size: int,
) -> FileProgress:
    became = Counter(outcomes)
    not_new = len(outcomes) - became[Outcome.ACCEPTED]
    return FileProgress(
        position=batch.position,
        stored=progress.stored + len(batch.lines) - not_new,
        duplicates=progress.duplicates + became[Outcome.DUPLICATE],
        rejected=Counter(progress.rejected) + Counter(reject.reason for reject in refused),
        rejects_size=rejects_size,
    )


def _report(readers: Sequence[SourceReader], *, resumed: bool) -> ImportReport:
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
    )

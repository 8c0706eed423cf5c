"""Reading a source in batches: the changes and events to store, and the rows to reject."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from endcap.catalog.events.events import Event
from endcap.catalog.fields.checks import check_currency
from endcap.catalog.importing.changes import given_columns, read_item_changes, read_user_changes
from endcap.catalog.importing.progress import FileProgress
from endcap.catalog.importing.rejecting import sift
from endcap.catalog.importing.rows import COLUMNS, Subject, read_events, refusals
from endcap.catalog.importing.sources import Layout, Source, find_columns, fingerprint
from endcap.catalog.importing.table_files.opening import open_table_file
from endcap.catalog.importing.table_files.table_file import Malformed, Position
from endcap.catalog.items.entry_changes import Change


@dataclass(frozen=True, slots=True)
class Batch:
    """The content of some lines: items, users or events. Changes are by place."""

    items: Mapping[int, Change] = field(default_factory=dict)
    users: Mapping[int, Change] = field(default_factory=dict)
    events: Sequence[Event] = ()

    texts: pl.DataFrame = field(kw_only=True)
    """Every row as texts, with its ``line``."""

    lines: pl.Series = field(kw_only=True)
    """The line numbers of the valid rows."""

    malformed: Sequence[Malformed] = field(kw_only=True)
    """The lines that are no rows."""

    bad: pl.DataFrame = field(kw_only=True)
    """The rows that cannot be stored, with ``reason`` and ``complaint``."""

    columns: Mapping[str, str] = field(kw_only=True)
    """The names in the file of the columns that it has."""

    position: Position = field(kw_only=True)
    """The position of the next batch."""

    share: float = field(kw_only=True)
    """The share of the file that is read with this batch, 0 to 1."""


class SourceReader:
    """Reads a source, from the position of its progress."""

    def __init__(self, source: Source, layout: Layout, *, currency: str, now: int) -> None:
        """Open the file.

        Args:
            source: The file.
            layout: The names that the file gives its columns.
            currency: ISO 4217 code of prices in rows without a currency; empty for the shop's currency.
            now: Unix milliseconds; later events are rejected, beyond a tolerance.

        Raises:
            InvalidInput: The file or a column is missing, the file is malformed, or the currency is invalid.
        """
        check_currency(currency)
        self.source = source
        self._table = open_table_file(source.path)
        self._columns = find_columns(self._table, source.subject, layout)
        self.names = self._table.names
        """The columns that the file is known to have."""
        self.read_names = frozenset(self._columns.values())
        """Those that are read, and others that may come."""
        self.fingerprint = fingerprint(source, layout, currency)
        self.progress = FileProgress()
        self._values = layout.values.get(source.subject, {})
        self._currency = currency
        self._now = now

    async def batches(self) -> AsyncGenerator[Batch]:
        """Read the rest of the file; the next batch is read in a thread meanwhile."""
        batches = self._batches()
        upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
        try:
            while (batch := await upcoming) is not None:
                upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
                yield batch
        finally:
            upcoming.cancel()

    def _batches(self) -> Iterator[Batch]:
        subject = self.source.subject
        values = [pl.lit(text).alias(name) for name, text in self._values.items()]
        for chunk in self._table.chunks(self._columns, self.progress.position):
            texts = chunk.rows.with_columns(values)
            sifted = sift(texts, COLUMNS[subject], refusals(subject, self._now))
            good = sifted.good
            given = {} if subject is Subject.EVENTS else given_columns(chunk, self._columns, self._values)
            yield Batch(
                items=read_item_changes(good, given, self._currency) if subject is Subject.ITEMS else {},
                users=read_user_changes(good, given) if subject is Subject.USERS else {},
                events=read_events(good, self._currency) if subject is Subject.EVENTS else (),
                texts=texts,
                lines=good["line"],
                malformed=chunk.malformed,
                bad=sifted.bad,
                columns=self._columns,
                position=chunk.position,
                share=chunk.position.offset / max(1, self._table.size),
            )

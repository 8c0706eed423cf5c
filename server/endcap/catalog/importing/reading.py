"""Reading a source in batches: the changes and events to store, and the rows to reject."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import polars as pl

from endcap.catalog.events.events import Event
from endcap.catalog.fields.checks import check_currency
from endcap.catalog.importing.changes import read_item_changes, read_user_changes
from endcap.catalog.importing.progress import FileProgress, fingerprint
from endcap.catalog.importing.reject_file import Reject, row_text
from endcap.catalog.importing.rejecting import sift
from endcap.catalog.importing.rows import COLUMNS, Subject, read_events, refusals
from endcap.catalog.importing.sources import Layout, Source, find_columns
from endcap.catalog.importing.table_files.opening import open_table_file
from endcap.catalog.importing.table_files.table_file import Chunk, Position
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

    rejects: Sequence[Reject] = field(kw_only=True)
    """The rejected rows."""

    position: Position = field(kw_only=True)
    """The position of the next batch."""


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
        self.names = tuple(self._table.column_names())
        """The known names of the file's columns."""
        self._columns = find_columns(source, self.names, layout, may_have_others=not self._table.has_header)
        self.read_names = frozenset(self._columns.values())
        """The names of columns that are read, including columns that only later rows may have."""
        self.fingerprint = fingerprint(source.path, (source.subject, str(layout), currency))
        self.progress = FileProgress()
        self.size = max(1, self._table.size)
        """The size of the file, in the unit of ``progress.position.offset``."""
        self._values = layout.values.get(source.subject, {})
        self._currency = currency
        self._now = now

    def batches(self) -> Iterator[Batch]:
        """Read the rest of the file."""
        subject = self.source.subject
        values = [pl.lit(text).alias(name) for name, text in self._values.items()]
        for chunk in self._table.chunks(self._columns, self.progress.position):
            texts = chunk.rows.with_columns(values)
            sifted = sift(texts, COLUMNS[subject], refusals(subject, self._now))
            malformed = [Reject(found.line, found.reason, found.text) for found in chunk.malformed]
            good = sifted.good
            given = {} if subject is Subject.EVENTS else self._given(chunk)
            yield Batch(
                items=read_item_changes(good, given, self._currency) if subject is Subject.ITEMS else {},
                users=read_user_changes(good, given) if subject is Subject.USERS else {},
                events=read_events(good, self._currency) if subject is Subject.EVENTS else (),
                texts=texts,
                lines=good["line"],
                rejects=sorted(malformed + self._rejects(sifted.bad), key=attrgetter("line")),
                position=chunk.position,
            )

    def rejects(self, batch: Batch, refused: Mapping[int, tuple[str, str]]) -> list[Reject]:
        """Return rejects for valid rows that were not stored.

        Args:
            batch: The batch.
            refused: Reason and complaint, by place among the valid rows.
        """
        if not refused:
            return []
        lines = batch.lines.gather(list(refused))
        reasons, complaints = zip(*refused.values(), strict=True)
        why = pl.DataFrame({"line": lines, "reason": reasons, "complaint": complaints})
        return self._rejects(batch.texts.join(why, on="line"))

    def _given(self, chunk: Chunk) -> dict[int, frozenset[str]]:
        """Return the columns that each line has, under the import's names."""
        lines = chunk.rows["line"].to_list()
        everywhere = frozenset(self._values)
        if chunk.names is None:
            return dict.fromkeys(lines, everywhere.union(self._columns))
        return {
            line: everywhere.union(name for name, source in self._columns.items() if source in names)
            for line, names in zip(lines, chunk.names, strict=True)
        }

    def _rejects(self, bad: pl.DataFrame) -> list[Reject]:
        rejects = []
        for row in bad.to_dicts():
            line, reason, complaint = row.pop("line"), row.pop("reason"), row.pop("complaint")
            # Under the names of the file, since the file is what a person corrects.
            texts = {self._columns.get(name, name): text for name, text in row.items()}
            rejects.append(Reject(line, reason, row_text(texts), complaint))
        return rejects

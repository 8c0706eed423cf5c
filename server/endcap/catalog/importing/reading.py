"""From a file to what an import stores: batch after batch, each with the rows that it cannot store."""

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
    """What some lines of a file hold; of the first three, one has something, changes by their place."""

    items: Mapping[int, Change] = field(default_factory=dict)
    users: Mapping[int, Change] = field(default_factory=dict)
    events: Sequence[Event] = ()

    texts: pl.DataFrame = field(kw_only=True)
    """Every row, as texts, with its ``line``."""

    lines: pl.Series = field(kw_only=True)
    """Those of the rows that can be stored."""

    rejects: Sequence[Reject] = field(kw_only=True)
    """The other ones."""

    position: Position = field(kw_only=True)
    """The position of the next batch."""


class SourceReader:
    """Reads a source on from where its import is."""

    def __init__(self, source: Source, layout: Layout, *, currency: str, now: int) -> None:
        """Open the file.

        Args:
            source: The file.
            layout: What it calls its columns.
            currency: ISO 4217 code of the prices of rows that name none; empty for the shop's.
            now: Unix milliseconds, the moment that no event may lie far after.

        Raises:
            InvalidInput: The file or a column is missing, it is not of its format, or the currency is none.
        """
        check_currency(currency)
        self.source = source
        self._table = open_table_file(source.path)
        self.names = tuple(self._table.column_names())
        """The columns that the file is known to have."""
        self._columns = find_columns(source, self.names, layout, may_have_others=not self._table.has_header)
        self.read_names = frozenset(self._columns.values())
        """Those that are read, and others that may come."""
        self.fingerprint = fingerprint(source.path, (source.subject, str(layout), currency))
        self.progress = FileProgress()
        self.size = max(1, self._table.size)
        """The size of the file, in the unit of the offset of its progress."""
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
        """Return rejects for rows that could be read and were not stored.

        Args:
            batch: The batch.
            refused: Reason and complaint, by their places among the rows that can be stored.
        """
        if not refused:
            return []
        lines = batch.lines.gather(list(refused))
        reasons, complaints = zip(*refused.values(), strict=True)
        why = pl.DataFrame({"line": lines, "reason": reasons, "complaint": complaints})
        return self._rejects(batch.texts.join(why, on="line"))

    def _given(self, chunk: Chunk) -> dict[int, frozenset[str]]:
        """Return for each line the columns that it has, as the import calls them."""
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
            # Under the names of the file, where whoever mends it looks for them.
            texts = {self._columns.get(name, name): text for name, text in row.items()}
            rejects.append(Reject(line, reason, row_text(texts), complaint))
        return rejects

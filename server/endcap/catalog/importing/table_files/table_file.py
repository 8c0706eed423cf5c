"""The import's side of a file, whatever its format."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl


CHUNK_SIZE = 10_000
"""Rows in memory at a time."""


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a reader in a file."""

    offset: int = 0
    """The offset in bytes, or in rows for formats that count rows."""

    line: int = 0
    """The number of the last line, or row, that was read."""


START = Position()


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is not a row."""

    line: int
    """The line number, from 1."""

    reason: str

    text: str
    """The beginning of the line."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, in its order."""

    rows: pl.DataFrame
    """``line``, from 1, and the requested columns: texts, null where a cell is empty or missing.
    Lists and objects are JSON."""

    malformed: Sequence[Malformed]
    """The lines between the rows that are not rows."""

    position: Position
    """The position of the next chunk."""

    names: Sequence[Collection[str]] | None = None
    """The file's column names in each row; None if all rows have the same columns."""


class TableFile(Protocol):
    """A file of rows."""

    path: Path

    size: int
    """The offset of the end of the file."""

    has_header: bool
    """Whether the file lists all of its columns; otherwise rows may have further columns."""

    names: Sequence[str]
    """The names of its columns, as far as they are known before it is read."""

    def chunks(self, sources: Mapping[str, str], start: Position) -> Iterator[Chunk]:
        """Read the rest of the file, from a position.

        Args:
            sources: The name in the file of each column of the chunks, by column.
            start: The position of an earlier chunk, or ``START``.
        """


def text_frame(lines: Sequence[int], columns: Mapping[str, Sequence[str | None] | pl.Series]) -> pl.DataFrame:
    """Return the rows of a chunk; empty texts become null.

    Args:
        lines: The line number of each row.
        columns: The texts by column, one text a row.
    """
    texts = [pl.Series(name, texts, dtype=pl.String) for name, texts in columns.items()]
    frame = pl.DataFrame([pl.Series("line", lines, dtype=pl.Int64), *texts])
    return frame.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())

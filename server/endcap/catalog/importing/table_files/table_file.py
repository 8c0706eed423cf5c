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
    """In bytes, or in rows where the format counts these."""

    line: int = 0
    """The number of the last line, or row, that was read."""


START = Position()


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no row."""

    line: int
    """From 1."""

    reason: str

    text: str
    """Its beginning."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, in its order."""

    rows: pl.DataFrame
    """``line``, from 1, and the columns that were asked for: texts, null where a cell is empty or missing.
    Lists and objects are JSON."""

    malformed: Sequence[Malformed]
    """The lines between them that are no rows."""

    position: Position
    """The position of the next chunk."""

    names: Sequence[Collection[str]] | None = None
    """For each row, what the file calls its columns; None where all rows have the same."""


class TableFile(Protocol):
    """A file of rows."""

    path: Path

    size: int
    """The offset of its end."""

    has_header: bool
    """Whether it says which columns it has; else a row may have any."""

    names: Sequence[str]
    """The names of its columns, as far as they are known before it is read."""

    def chunks(self, sources: Mapping[str, str], start: Position) -> Iterator[Chunk]:
        """Read the rest of it.

        Args:
            sources: For each column that the chunks are to have, its name in the file.
            start: The position of an earlier chunk, or the start.
        """


def text_frame(lines: Sequence[int], columns: Mapping[str, Sequence[str | None] | pl.Series]) -> pl.DataFrame:
    """Return the rows of a chunk; empty texts become null.

    Args:
        lines: The number of each row's line.
        columns: The texts of each column, one a row.
    """
    texts = [pl.Series(name, texts, dtype=pl.String) for name, texts in columns.items()]
    frame = pl.DataFrame([pl.Series("line", lines, dtype=pl.Int64), *texts])
    return frame.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())

"""CSV files (RFC 4180), with a header, in UTF-8, separated by commas, semicolons, tabs or bars."""

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from endcap.catalog.importing.table_files.table_file import (
    CHUNK_SIZE,
    START,
    Chunk,
    Malformed,
    Position,
    text_frame,
)
from endcap.catalog.importing.table_files.text_lines import (
    MAX_LINE_BYTES,
    TOO_LONG,
    Line,
    LineReader,
    open_text,
)
from endcap.sdk.errors import InvalidInput


_DELIMITERS = ",;\t|"
_OPEN_QUOTE = "a quote is not closed, or something follows one"


class CsvFile:
    """A CSV file; its delimiter is the candidate that occurs most often in the header."""

    has_header = True

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            InvalidInput: The header is missing or cannot be read.
        """
        self.path = path
        self.size = path.stat().st_size
        self.names: Sequence[str]
        self.names, self._delimiter, self._end_of_header = self._header()

    def chunks(self, sources: Mapping[str, str], start: Position) -> Iterator[Chunk]:
        """Read the rest of the file; see ``TableFile``."""
        places = {name: self.names.index(source) for name, source in sources.items()}
        with open_text(self.path) as stream:
            feed = _Feed(LineReader(stream, self._end_of_header if start == START else start))
            rows = _rows(feed, self._delimiter, len(self.names))
            while found := list(islice(rows, CHUNK_SIZE)):
                good = [row for row in found if not isinstance(row, Malformed)]
                fields = list(zip(*(values for _, values in good), strict=True)) or [()] * len(self.names)
                yield Chunk(
                    text_frame(
                        [line for line, _ in good], {name: fields[place] for name, place in places.items()}
                    ),
                    [row for row in found if isinstance(row, Malformed)],
                    feed.position,
                )

    def _header(self) -> tuple[list[str], str, Position]:
        """Return the column names, the delimiter, and the position of the first row."""
        with open_text(self.path) as stream:
            line = LineReader(stream, START).read()
        if line is None or line.is_cut:
            raise InvalidInput(f"{self.path} has no header: its first line must name the columns")
        try:
            text = line.data.decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"{self.path} is not UTF-8: save it as UTF-8") from None
        delimiter = max(_DELIMITERS, key=text.count)
        try:
            (names,) = csv.reader([text], delimiter=delimiter, strict=True)
        except (csv.Error, ValueError):
            raise InvalidInput(f"{self.path} has no header: its first line must name the columns") from None
        return [name.strip() for name in names], delimiter, line.position


def _rows(feed: "_Feed", delimiter: str, width: int) -> Iterator[tuple[int, list[str]] | Malformed]:
    """Yield the number of the first line and the fields of each row; skip empty lines."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, _NoRowError) as error:
            # A quote that is never closed must reject only its own line, not all following lines.
            reason = _OPEN_QUOTE if feed.has_several_lines else _reason(error)
            yield feed.give_back().malformed(reason)
            continue
        if len(fields) == width:
            yield feed.first.number, fields
        elif fields:
            yield feed.first.malformed(f"the line has {len(fields)} fields, but the header has {width}")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the line is not UTF-8"
    if isinstance(error, _NoRowError):
        return str(error)
    return _OPEN_QUOTE


class _NoRowError(Exception):
    """The line cannot be a row; the message is the reason."""


class _Feed:
    """Feeds lines to a ``csv.reader``, and can feed the lines of the current row again."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self._row: list[Line] = []
        self._length = 0
        self._last: Line | None = None

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._lines.read()
        if line is None:
            raise StopIteration
        self._row.append(line)
        self._last = line
        self._length += len(line.data)
        if line.is_cut:
            raise _NoRowError(TOO_LONG)
        if self._length > MAX_LINE_BYTES:
            raise _NoRowError(_OPEN_QUOTE)
        return line.data.decode()

    @property
    def first(self) -> Line:
        """The first line of the current row."""
        return self._row[0]

    @property
    def has_several_lines(self) -> bool:
        """Whether the current row has more than one line."""
        return len(self._row) > 1

    @property
    def position(self) -> Position:
        """The position after the current row."""
        return START if self._last is None else self._last.position

    def begin_row(self) -> None:
        """Forget the lines of the previous row."""
        self._row = []
        self._length = 0

    def give_back(self) -> Line:
        """Return the first line of the current row, and feed its other lines again."""
        first, *others = self._row
        self._again.extendleft(reversed(others))
        self._row = [first]
        self._last = first
        return first

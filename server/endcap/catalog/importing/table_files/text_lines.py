"""The lines of a text file, with bounded length and the position after each."""

import json
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from endcap.catalog.importing.table_files.table_file import Malformed, Position
from endcap.sdk.errors import InvalidInput


MAX_LINE_BYTES = 131_072
"""The longest line or row of several lines, in bytes; a longer one is rejected."""

TOO_LONG = f"the line is longer than {MAX_LINE_BYTES} bytes"

_SHOWN_BYTES = 1_000  # of a line that is not a row
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line."""

    data: bytes
    """The bytes with the line ending; a line that is too long is cut to ``MAX_LINE_BYTES`` + 1."""

    number: int
    """The line number, from 1."""

    end: int
    """The offset of the next line."""

    @property
    def position(self) -> Position:
        """The position after this line."""
        return Position(self.end, self.number)

    @property
    def is_cut(self) -> bool:
        """Whether the line was too long."""
        return len(self.data) > MAX_LINE_BYTES

    def malformed(self, reason: str) -> Malformed:
        """Return the line as one that is not a row, with the reason."""
        text = self.data[:_SHOWN_BYTES].decode(errors="replace").rstrip("\r\n")
        return Malformed(self.number, reason, text)


class LineReader:
    """Reads lines one after the other."""

    def __init__(self, stream: BinaryIO, start: Position) -> None:
        stream.seek(start.offset)
        self._stream = stream
        self._offset = start.offset
        self._number = start.line

    def read(self) -> Line | None:
        """Return the next line, or None at the end of the file."""
        data = self._stream.readline(MAX_LINE_BYTES + 1)
        if not data:
            return None
        length = len(data)
        if length > MAX_LINE_BYTES:
            rest = data
            while rest and not rest.endswith(b"\n"):
                rest = self._stream.readline(MAX_LINE_BYTES)
                length += len(rest)
        elif self._offset == 0 and data.startswith(_BYTE_ORDER_MARK):
            data = data[len(_BYTE_ORDER_MARK) :]
        self._offset += length
        self._number += 1
        return Line(data, self._number, self._offset)


def open_text(path: Path) -> BinaryIO:
    """Open a text file.

    Raises:
        InvalidInput: The file cannot be read, or is UTF-16.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    if stream.read(2) in _UTF_16_MARKS:
        stream.close()
        raise InvalidInput(f"{path} is UTF-16: save it as UTF-8")
    return stream


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


decode_json = json.JSONDecoder(parse_constant=_no_number).decode
"""Parses JSON, in which NaN and infinity have no place; raises ``ValueError`` where a text is not JSON."""

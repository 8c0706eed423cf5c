"""JSON Lines files: one object a line, in UTF-8."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from endcap.catalog.importing.table_files.table_file import (
    CHUNK_SIZE,
    START,
    Chunk,
    Malformed,
    Position,
    text_frame,
)
from endcap.catalog.importing.table_files.text_lines import TOO_LONG, Line, LineReader, decode_json, open_text


_SAMPLE = 1_000  # lines that are read for the names of columns


class JsonLinesFile:
    """A JSON Lines file; each object may have other columns."""

    has_header = False

    def __init__(self, path: Path) -> None:
        """Read the names in the first thousand objects.

        Raises:
            InvalidInput: The file cannot be read.
        """
        self.path = path
        self.size = path.stat().st_size
        with open_text(self.path) as stream:
            found = [_object(line) for line in islice(_lines(LineReader(stream, START)), _SAMPLE)]
        self.names: Sequence[str] = list(
            dict.fromkeys(name for row in found if isinstance(row, dict) for name in row)
        )

    def chunks(self, sources: Mapping[str, str], start: Position) -> Iterator[Chunk]:
        """Read the rest of the file; see ``TableFile``."""
        with open_text(self.path) as stream:
            lines = _lines(LineReader(stream, start))
            while found := list(islice(lines, CHUNK_SIZE)):
                objects = [(line.number, _object(line)) for line in found]
                good = [(number, row) for number, row in objects if isinstance(row, dict)]
                columns = {name: _texts(good, source) for name, source in sources.items()}
                yield Chunk(
                    text_frame([number for number, _ in good], columns),
                    [row for _, row in objects if isinstance(row, Malformed)],
                    found[-1].position,
                    [row.keys() for _, row in good],
                )


def _lines(reader: LineReader) -> Iterator[Line]:
    while (line := reader.read()) is not None:
        if line.data.strip():
            yield line


def _object(line: Line) -> dict[str, Any] | Malformed:
    if line.is_cut:
        return line.malformed(TOO_LONG)
    try:
        value = decode_json(line.data.decode())
        if b"\\u" in line.data:
            json.dumps(value, ensure_ascii=False).encode()  # an escape can spell a lone surrogate
    except UnicodeDecodeError:
        return line.malformed("the line is not UTF-8")
    except UnicodeEncodeError:
        return line.malformed("the line holds half a character")
    except (ValueError, RecursionError):
        return line.malformed("the line is not JSON")
    if not isinstance(value, dict):
        return line.malformed("the line is not a JSON object")
    return value


def _texts(rows: Sequence[tuple[int, dict[str, Any]]], source: str) -> list[str | None]:
    values = [row.get(source) for _, row in rows]
    return [value if value is None or isinstance(value, str) else _text(value) for value in values]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else repr(value)

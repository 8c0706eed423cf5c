"""Parquet files, a slice of rows at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from endcap.catalog.importing.table_files.table_file import CHUNK_SIZE, Chunk, Position, text_frame
from endcap.sdk.errors import InvalidInput


class ParquetFile:
    """A Parquet file; its rows count as its lines."""

    has_header = True

    def __init__(self, path: Path) -> None:
        """Read the metadata of the file.

        Raises:
            InvalidInput: The file is not a Parquet file.
        """
        self.path = path
        try:
            self._table = pl.scan_parquet(path)
            self.names: Sequence[str] = self._table.collect_schema().names()
            self.size = int(self._table.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError):
            raise InvalidInput(f"{path} is not a Parquet file: write it again") from None

    def chunks(self, sources: Mapping[str, str], start: Position) -> Iterator[Chunk]:
        """Read the rest of the file; see ``TableFile``."""
        for offset in range(start.offset, self.size, CHUNK_SIZE):
            # A slice reads only the row groups and pages that hold it.
            found = self._table.select(sources.values()).slice(offset, CHUNK_SIZE).collect()
            end = offset + found.height
            columns = {name: _texts(found[source]) for name, source in sources.items()}
            yield Chunk(text_frame(range(offset + 1, end + 1), columns), (), Position(end, end))


def _texts(found: pl.Series) -> pl.Series | list[str | None]:
    if found.dtype == pl.Date:
        found = found.cast(pl.Datetime("ms"))
    if isinstance(found.dtype, pl.Datetime):
        found = found.dt.epoch("ms")
    if found.dtype.is_nested():
        return [
            None if value is None else json.dumps(_plain(value), ensure_ascii=False, default=str)
            for value in found
        ]
    return found.cast(pl.String, strict=False)


def _plain(value: object) -> object:
    """Convert to plain lists and dicts; drop fields without a value."""
    if isinstance(value, pl.Series):
        return value.to_list()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    return value

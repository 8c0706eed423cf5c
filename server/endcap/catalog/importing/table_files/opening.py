"""Opening a file of rows by the ending of its name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from endcap.catalog.importing.table_files.csv_file import CsvFile
from endcap.catalog.importing.table_files.json_lines_file import JsonLinesFile
from endcap.catalog.importing.table_files.parquet_file import ParquetFile
from endcap.catalog.importing.table_files.table_file import TableFile
from endcap.sdk.errors import InvalidInput


FORMATS: Mapping[str, Callable[[Path], TableFile]] = {
    ".csv": CsvFile,
    ".tsv": CsvFile,
    ".jsonl": JsonLinesFile,
    ".ndjson": JsonLinesFile,
    ".parquet": ParquetFile,
}


def open_table_file(path: Path) -> TableFile:
    """Open a file of rows.

    Raises:
        InvalidInput: The file is missing or cannot be read, or its format is unknown.
    """
    if path.suffix not in FORMATS:
        raise InvalidInput(f"{path} has an unknown format: its name must end in {', '.join(FORMATS)}")
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: check its name and its folder")
    return FORMATS[path.suffix](path)

"""Finds out what a folder holds, and reads it."""

from pathlib import Path

import numpy as np

from endcap.evaluation.datasets import DataSet
from endcap.evaluation.log_files import read_invoices, read_snapshot
from endcap.evaluation.sequence_files import read_sequences, read_sessions
from endcap.sdk.errors import InvalidInput


FORMATS = """\
sequences.txt or sequences.txt.gz     lines of 'user item item …' or 'user item', in time order
train_sessions.parquet, test.parquet  columns 'session'; 'prefix' and 'target'
manifest.json, events-00000.parquet…  a snapshot written with 'endcap snapshot'
*.parquet, one file                   invoice lines: Invoice, StockCode, Quantity, InvoiceDate, …"""
"""The known formats, one a line."""


def read_data_set(folder: Path, *, seed: int = 0) -> DataSet:
    """Read a data set, whatever its format.

    Args:
        folder: The folder of the data set.
        seed: Fixes the permutation of items and users.

    Raises:
        InvalidInput: The folder holds none of the known formats, or a file cannot be read in its format.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder: name the folder that holds the data set")
    generator = np.random.default_rng(seed)
    for name in ("sequences.txt", "sequences.txt.gz"):
        if (folder / name).is_file():
            return read_sequences(folder / name, generator)
    if (folder / "train_sessions.parquet").is_file():
        return read_sessions(folder, generator)
    if (folder / "manifest.json").is_file():
        return read_snapshot(folder, generator)
    tables = sorted(folder.glob("*.parquet"))
    if len(tables) == 1:
        return read_invoices(tables[0], generator)
    raise InvalidInput(f"{folder} holds no data set that Endcap knows; it reads folders with\n{FORMATS}")

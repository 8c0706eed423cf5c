"""Finds out what a folder holds, and reads it."""

from pathlib import Path

import numpy as np

from endcap.evaluation.csv_files import is_csv, read_events_file
from endcap.evaluation.datasets import DataSet
from endcap.evaluation.link_files import read_links
from endcap.evaluation.log_files import read_invoices, read_snapshot
from endcap.evaluation.sequence_files import read_sequences, read_sessions
from endcap.sdk.errors import InvalidInput


FORMATS = """\
events.csv, or one CSV file           columns user_id, item_id, time, perhaps type; items.csv beside it
train.csv, links.csv                  events; columns item, target, perhaps relation
train.csv, item_meta.csv              events; columns item_id, r_complement, r_substitute
sequences.txt or sequences.txt.gz     lines of 'user item item …' or 'user item', in time order
train_sessions.parquet, test.parquet  columns 'session'; 'prefix' and 'target'
manifest.json, events-00000.parquet…  a snapshot written with 'endcap snapshot'
*.parquet, one file                   invoice lines: Invoice, StockCode, Quantity, InvoiceDate, …"""
"""The known formats, one a line."""


def read_data_set(folder: Path, *, seed: int = 0) -> DataSet:
    """Read a data set, whatever its format.

    Args:
        folder: The folder of the data set, or a CSV file of events.
        seed: Fixes the permutation of items and users.

    Raises:
        InvalidInput: The folder holds none of the known formats, or a file cannot be read in its format.
    """
    generator = np.random.default_rng(seed)
    if folder.is_file() and is_csv(folder):
        return read_events_file(folder, generator)
    if not folder.is_dir():
        raise InvalidInput(
            f"{folder} is not a folder: name the folder that holds the data set, or a CSV file of events"
        )
    data_set = _read_undated(folder, generator) or _read_dated(folder, generator)
    if data_set is None:
        raise InvalidInput(f"{folder} holds no data set that Endcap knows; it reads folders with\n{FORMATS}")
    return data_set


def _read_undated(folder: Path, generator: np.random.Generator) -> DataSet | None:
    """Read sequences or sessions; None where the folder holds neither."""
    for name in ("sequences.txt", "sequences.txt.gz"):
        if (folder / name).is_file():
            return read_sequences(folder / name, generator)
    if (folder / "train_sessions.parquet").is_file():
        return read_sessions(folder, generator)
    return None


def _read_dated(folder: Path, generator: np.random.Generator) -> DataSet | None:
    """Read a snapshot, events, links or invoice lines; None where the folder holds none of them."""
    if (folder / "manifest.json").is_file():
        return read_snapshot(folder, generator)
    files = {path.name.removesuffix(".gz"): path for path in sorted(folder.iterdir()) if is_csv(path)}
    if "train.csv" in files and len(files) > 1:
        return read_links(folder, generator)
    names = ["events.csv"] if "events.csv" in files else [name for name in files if name != "items.csv"]
    if len(names) == 1:
        return read_events_file(files[names[0]], generator)
    tables = sorted(folder.glob("*.parquet"))
    return read_invoices(tables[0], generator) if len(tables) == 1 else None

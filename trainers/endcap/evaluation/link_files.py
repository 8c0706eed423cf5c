"""Reads links between items, which are the test of similar and related."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endcap.evaluation.csv_files import items_of, read_events, read_table
from endcap.evaluation.datasets import Links
from endcap.evaluation.log_files import events_of
from endcap.evaluation.ragged import Ragged
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Task
from endcap.sdk.vocabulary import Vocabulary


if TYPE_CHECKING:
    import polars as pl

RELATIONS = {"complement": Task.RELATED, "substitute": Task.SIMILAR}
"""The task that each relation of a link is a target of."""


def read_links(folder: Path, generator: np.random.Generator) -> Links:
    """Read the events of ``train.csv`` and the links of ``links.csv`` or ``item_meta.csv``.

    ``links.csv`` has the columns ``item``, ``target`` and perhaps ``relation``, complement or substitute; a
    link without one is both. ``item_meta.csv`` has ``item_id``, ``r_complement`` and ``r_substitute``, lists
    of ids. Each file may be compressed, as ``train.csv.gz``. An item that only links name has a row too.

    Raises:
        InvalidInput: A file or a column is missing.
    """
    import polars as pl

    events = read_events(_find(folder, "train.csv"))
    links = _links(folder)
    named = pl.concat([events["item_id"], links["item"], links["target"]])
    ids = named.unique(maintain_order=True)
    items = pl.DataFrame({"item_id": ids[generator.permutation(len(ids))]})
    vocabulary = Vocabulary(items["item_id"].to_list())
    targets = {}
    for relation, task in RELATIONS.items():
        own = links.filter(
            (pl.col("relation") == relation).fill_null(value=True) & (pl.col("item") != pl.col("target"))
        )
        pairs = np.unique(
            np.stack([vocabulary.rows(own[side].to_list()) for side in ("item", "target")]), axis=1
        )
        if pairs.size:
            counts = np.bincount(pairs[0], minlength=len(vocabulary))
            targets[task] = Ragged(pairs[1], np.concatenate([[0], np.cumsum(counts)]))
    if not targets:
        raise InvalidInput(f"{folder} has no link of an item to another one: add some")
    return Links(folder.name, items_of(items), events_of(events, items["item_id"], generator), targets)


def _find(folder: Path, name: str) -> Path:
    """Return the file of a name in a folder, compressed or not.

    Raises:
        InvalidInput: The folder has no such file.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InvalidInput(f"{folder} lacks {name}: links need train.csv, and links.csv or item_meta.csv")


def _links(folder: Path) -> "pl.DataFrame":
    """Return links as ``item``, ``target`` and ``relation``, which is null for a link of both relations."""
    import polars as pl

    if any((folder / name).is_file() for name in ("links.csv", "links.csv.gz")):
        table = read_table(_find(folder, "links.csv"), ("item", "target"))
        relation = pl.col("relation") if "relation" in table.columns else pl.lit(None, pl.String)
        return table.select("item", "target", relation=relation)
    columns = {f"r_{relation}": relation for relation in RELATIONS}
    table = read_table(_find(folder, "item_meta.csv"), ("item_id", *columns))
    parts = [
        table.select(
            item=pl.col("item_id"),
            target=pl.Series([[str(each) for each in json.loads(text or "[]")] for text in table[column]]),
            relation=pl.lit(relation),
        ).explode("target")
        for column, relation in columns.items()
    ]
    return pl.concat(parts).drop_nulls("target")

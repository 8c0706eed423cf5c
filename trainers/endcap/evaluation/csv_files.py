"""Reads CSV files of events, as ``endcap import`` takes them, and of links between items."""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endcap.evaluation.datasets import Links, Log, require_columns
from endcap.evaluation.log_files import events_of
from endcap.evaluation.ragged import Ragged
from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Task
from endcap.sdk.vocabulary import Vocabulary


if TYPE_CHECKING:
    import polars as pl

_NAMES = {"user": ("user_id", "user", "visitor_id"), "item_id": ("item_id", "item"), "time": ("time",)}
"""The columns of events, each with the names that it may have."""

_SECONDS = 100_000_000_000
"""Whole numbers below it are Unix seconds; as milliseconds they would lie before 1973."""

RELATIONS = {"complement": Task.RELATED, "substitute": Task.SIMILAR}
"""The task that each relation of a link is a target of."""


def read_events_file(path: Path, generator: np.random.Generator) -> Log:
    """Read events with the columns ``user_id`` (or ``visitor_id``), ``item_id`` and ``time``, and ``type``.

    A time is in ISO 8601 or whole Unix milliseconds or seconds; without a column ``type`` every event is a
    purchase. Titles, descriptions, categories, prices and creation times come from ``items.csv`` beside it,
    when that is there: they are the last ones.

    Raises:
        InvalidInput: A column is missing, or a time cannot be read.
    """
    import polars as pl

    events = _events(path)
    known = path.parent / "items.csv"
    items = pl.DataFrame({"item_id": events["item_id"].unique(maintain_order=True)})
    if known.is_file() and known != path:
        described = read_table(known, ("item_id",)).unique("item_id", keep="last", maintain_order=True)
        items = described.join(items, on="item_id", how="full", coalesce=True, maintain_order="left_right")
    items = items[generator.permutation(len(items))]
    return Log(path.parent.name, _items(items), events_of(events, items["item_id"], generator))


def read_links(folder: Path, generator: np.random.Generator) -> Links:
    """Read the events of ``train.csv`` and the links of ``links.csv`` or ``item_meta.csv``.

    ``links.csv`` has the columns ``item``, ``target`` and perhaps ``relation``, complement or substitute; a
    link without one is both. ``item_meta.csv`` has ``item_id``, ``r_complement`` and ``r_substitute``, lists
    of ids. Each file may be compressed, as ``train.csv.gz``. An item that only links name has a row too.

    Raises:
        InvalidInput: A file or a column is missing.
    """
    import polars as pl

    events = _events(find_file(folder, "train.csv"))
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
    return Links(folder.name, _items(items), events_of(events, items["item_id"], generator), targets)


def is_csv(path: Path) -> bool:
    """Return whether a file is a CSV file by its name, compressed or not."""
    return path.name.endswith((".csv", ".csv.gz"))


def find_file(folder: Path, name: str) -> Path:
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
        table = read_table(find_file(folder, "links.csv"), ("item", "target"))
        relation = pl.col("relation") if "relation" in table.columns else pl.lit(None, pl.String)
        return table.select("item", "target", relation=relation)
    columns = {f"r_{relation}": relation for relation in RELATIONS}
    table = read_table(find_file(folder, "item_meta.csv"), ("item_id", *columns))
    parts = [
        table.select(
            item=pl.col("item_id"),
            target=pl.Series([[str(each) for each in json.loads(text or "[]")] for text in table[column]]),
            relation=pl.lit(relation),
        ).explode("target")
        for column, relation in columns.items()
    ]
    return pl.concat(parts).drop_nulls("target")


def read_table(path: Path, columns: tuple[str, ...]) -> "pl.DataFrame":
    """Read a CSV file, compressed or not, as texts; tabs may separate its cells.

    Raises:
        InvalidInput: The file is missing, is no table, or lacks a column.
    """
    import polars as pl

    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
            separator = "\t" if "\t" in stream.readline() else ","
        table = pl.read_csv(path, infer_schema=False, separator=separator)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"{path} cannot be read as a CSV file: {error}") from error
    require_columns(path, table, columns)
    return table


def _events(path: Path) -> "pl.DataFrame":
    """Return events as ``user``, ``item_id``, ``type`` and ``time``, in time order."""
    import polars as pl

    table = read_table(path, ())
    names = {
        column: next((name for name in choices if name in table.columns), "")
        for column, choices in _NAMES.items()
    }
    missing = [" or ".join(_NAMES[column]) for column, name in names.items() if not name]
    if missing:
        raise InvalidInput(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    kind = pl.col("type") if "type" in table.columns else pl.lit("purchase")
    events = table.select(**{column: pl.col(name) for column, name in names.items()}, type=kind)
    events = events.drop_nulls(["user", "item_id"]).with_columns(time=_times(pl.col("time")))
    if events["time"].null_count():
        raise InvalidInput(
            f"{path} has times that cannot be read: write Unix milliseconds, or 2026-01-31T12:00:00Z"
        )
    return events.sort("time", maintain_order=True)


def _times(text: "pl.Expr") -> "pl.Expr":
    import polars as pl

    numbers = text.cast(pl.Int64, strict=False)
    spaced = text.str.replace("T", " ", literal=True).str.strip_suffix("Z")
    dated = pl.coalesce(
        spaced.str.to_datetime(form, time_unit="ms", strict=False)
        for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    )
    milliseconds = pl.when(numbers.max() < _SECONDS).then(numbers * 1000).otherwise(numbers)
    return pl.coalesce(milliseconds, dated.dt.epoch("ms"))


def _items(table: "pl.DataFrame") -> ItemColumns:
    import polars as pl

    def texts(name: str) -> list[str]:
        return table[name].fill_null("").to_list() if name in table.columns else [""] * len(table)

    def labels(name: str) -> list[list[str]]:
        return [[part for part in text.split("|") if part] for text in texts(name)]

    def numbers(name: str) -> "pl.Series":
        column = table[name] if name in table.columns else pl.Series([None] * len(table), dtype=pl.String)
        return column.cast(pl.Float64, strict=False)

    created = pl.select(_times(pl.lit(pl.Series(texts("created_time"), dtype=pl.String)))).to_series()
    return ItemColumns(
        ids=table["item_id"].to_list(),
        titles=texts("title"),
        descriptions=texts("description"),
        brands=texts("brand"),
        categories=labels("categories"),
        tags=labels("tags"),
        prices=numbers("price").fill_null(np.nan).to_numpy(),
        available=np.ones(len(table), np.bool_),
        created=created.fill_null(0).to_numpy(),
    )

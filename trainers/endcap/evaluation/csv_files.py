"""Reads CSV files of events, in the columns that ``endcap import`` takes."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endcap.evaluation.datasets import Log, require_columns
from endcap.evaluation.log_files import events_of
from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import event_value


if TYPE_CHECKING:
    import polars as pl

_NAMES = {"user": ("user_id", "user", "visitor_id"), "item_id": ("item_id", "item"), "time": ("time",)}
"""The columns of events, each with the names that it may have."""

_SECONDS = 100_000_000_000
"""Whole numbers below it are Unix seconds; as milliseconds they would lie before 1973."""


def read_events_file(path: Path, generator: np.random.Generator) -> Log:
    """Read events with the columns ``user_id`` (or ``visitor_id``), ``item_id`` and ``time``, and ``type``.

    A time is in ISO 8601 or whole Unix milliseconds or seconds; without a column ``type`` every event is a
    purchase. ``quantity``, and the ``value`` of a rating, weigh events if the columns are there. Titles,
    descriptions, categories, prices and creation times come from ``items.csv`` beside it, when that is there:
    they are the last ones.

    Raises:
        InvalidInput: A column is missing, or a time cannot be read.
    """
    import polars as pl

    events = read_events(path)
    known = path.parent / "items.csv"
    items = pl.DataFrame({"item_id": events["item_id"].unique(maintain_order=True)})
    if known.is_file() and known != path:
        described = read_table(known, ("item_id",)).unique("item_id", keep="last", maintain_order=True)
        items = described.join(items, on="item_id", how="full", coalesce=True, maintain_order="left_right")
    items = items[generator.permutation(len(items))]
    return Log(path.parent.name, items_of(items), events_of(events, items["item_id"], generator))


def is_csv(path: Path) -> bool:
    """Return whether a file is a CSV file by its name, compressed or not."""
    return path.name.endswith((".csv", ".csv.gz"))


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


def read_events(path: Path) -> "pl.DataFrame":
    """Read events as ``user``, ``item_id``, ``type``, ``time`` and ``value``, in time order.

    Raises:
        InvalidInput: A column is missing, or a time cannot be read.
    """
    import polars as pl

    table = read_table(path, ())
    found = {
        column: [name for name in choices if name in table.columns] for column, choices in _NAMES.items()
    }
    missing = [" or ".join(_NAMES[column]) for column, names in found.items() if not names]
    if missing:
        raise InvalidInput(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    kind = pl.col("type") if "type" in table.columns else pl.lit("purchase")
    numbers = {
        name: (pl.col(name) if name in table.columns else pl.lit(None)).cast(pl.Float32, strict=False)
        for name in ("quantity", "value")
    }
    columns = {column: pl.coalesce(names) for column, names in found.items()}
    events = table.select(**columns, type=kind, **numbers).drop_nulls(["user", "item_id"])
    events = events.select("user", "item_id", "type", event_value(), time=_times(pl.col("time")))
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


def items_of(table: "pl.DataFrame") -> ItemColumns:
    """Return the columns of items, blank where the table lacks them."""
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

"""Reads dated logs: snapshots and invoice lines."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endcap.evaluation.datasets import Descriptions, Log, require_columns
from endcap.sdk.catalog_view import EventColumns, ItemColumns
from endcap.sdk.snapshot import Snapshot, event_value, item_columns
from endcap.sdk.vocabulary import Rows


if TYPE_CHECKING:
    import polars as pl

_INVOICE_COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID")


def read_snapshot(folder: Path, generator: np.random.Generator) -> Log:
    """Read a snapshot of a shop."""
    snapshot = Snapshot.open(folder)
    items = _shuffled(snapshot.items(), generator)
    return Log(
        name=snapshot.manifest.shop,
        items=item_columns(items),
        events=events_of(
            snapshot.scan("events").select("user", "item_id", "type", "time", event_value()).collect(),
            items["item_id"],
            generator,
        ),
    )


def read_invoices(path: Path, generator: np.random.Generator) -> Log:
    """Read invoice lines, and keep what was sold.

    A sale has a positive quantity and price, a code that begins with five digits, and is no cancellation. The
    events are the sales to known customers. All sales say which items there were, since when, and the title
    and price of each at any time.
    """
    import polars as pl

    lines = pl.read_parquet(path)
    require_columns(path, lines, _INVOICE_COLUMNS)
    lines = lines.filter(
        (pl.col("Quantity") > 0)
        & (pl.col("Price") > 0)
        & pl.col("StockCode").str.contains(r"^\d{5}")
        & ~pl.col("Invoice").str.starts_with("C")
    ).sort("InvoiceDate", maintain_order=True)
    items = lines.group_by("StockCode", maintain_order=True).agg(
        pl.col("Description").last(), pl.col("Price").last(), pl.col("InvoiceDate").first()
    )
    items = _shuffled(items, generator)
    events = lines.filter(pl.col("Customer ID").is_not_null()).select(
        user=pl.col("Customer ID"),
        item_id=pl.col("StockCode"),
        type=pl.lit("purchase"),
        time=pl.col("InvoiceDate").dt.epoch("ms"),
        value=pl.col("Quantity").cast(pl.Float32()),
    )
    return Log(
        name=path.parent.name,
        items=ItemColumns(
            ids=items["StockCode"].to_list(),
            titles=items["Description"].fill_null("").to_list(),
            categories=[()] * len(items),
            prices=items["Price"].to_numpy(),
            available=np.ones(len(items), np.bool_),
            created=items["InvoiceDate"].dt.epoch("ms").to_numpy(),
        ),
        events=events_of(events, items["StockCode"], generator),
        descriptions=Descriptions(
            rows=_rows(lines["StockCode"], items["StockCode"]),
            times=lines["InvoiceDate"].dt.epoch("ms").to_numpy(),
            titles=lines["Description"].fill_null("").to_list(),
            prices=lines["Price"].to_numpy(),
        ),
    )


def _shuffled(table: "pl.DataFrame", generator: np.random.Generator) -> "pl.DataFrame":
    return table[generator.permutation(len(table))]


def events_of(table: "pl.DataFrame", item_ids: "pl.Series", generator: np.random.Generator) -> EventColumns:
    """Turn columns ``user``, ``item_id``, ``type``, ``time`` and ``value`` into numbers.

    Events without a known item are left out.
    """
    import polars as pl

    table = table.filter(pl.col("item_id").is_in(item_ids.to_list()))
    names, numbers = np.unique(table["user"].to_numpy(), return_inverse=True)
    return EventColumns(
        users=generator.permutation(len(names))[numbers].astype(np.int64),
        rows=_rows(table["item_id"], item_ids),
        types=table["type"].to_numpy().astype(np.str_),
        times=table["time"].to_numpy().astype(np.int64),
        values=table["value"].fill_null(np.nan).to_numpy(),
    )


def _rows(named: "pl.Series", item_ids: "pl.Series") -> Rows:
    """Return the row of each item named."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    return np.array([row_of[item_id] for item_id in named], np.int32)

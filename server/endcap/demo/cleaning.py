"""Cleans the raw rows of Online Retail II and says what it drops and why.

Chen, D. (2019). Online Retail II. UCI Machine Learning Repository. doi:10.24432/C5CG6D, CC BY 4.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import polars as pl


CURRENCY = "GBP"

_RULES = (
    ("no known customer", pl.col("Customer ID").is_not_null()),
    ("cancellation", ~pl.col("Invoice").str.starts_with("C")),
    ("quantity not positive", pl.col("Quantity") > 0),
    ("price not positive", pl.col("Price") > 0),
    ("no product: postage, discount or test", pl.col("StockCode").str.contains(r"^\d{5}")),
)


@dataclass(frozen=True, slots=True)
class CleanedShop:
    """The shop's items and events, in the columns that an import reads."""

    items: pl.DataFrame
    events: pl.DataFrame
    raw: int
    """Rows that there were."""
    dropped: Mapping[str, int]
    """Rows that each rule dropped of those that the rules before it had left."""


def raw_rows() -> pl.DataFrame:
    """Read the rows as they were published."""
    data = files("endcap.demo") / "data" / "online_retail_ii_2009_2010.parquet"
    with as_file(data) as path:
        return pl.read_parquet(path)


def clean(rows: pl.DataFrame) -> CleanedShop:
    """Keep real purchases of real products by known customers.

    An item's title is its longest description and its price the one of its last sale.
    """
    raw, dropped = rows.height, {}
    for name, rule in _RULES:
        kept = rows.filter(rule)
        dropped[name] = rows.height - kept.height
        rows = kept
    rows = rows.sort("InvoiceDate", maintain_order=True)
    items = rows.group_by("StockCode", maintain_order=True).agg(
        pl.col("Description").sort_by(pl.col("Description").str.len_chars()).last().fill_null(""),
        pl.col("Price").last(),
    )
    events = rows.select(
        pl.col("Customer ID").cast(pl.String).alias("user_id"),
        pl.col("StockCode").alias("item_id"),
        pl.lit("purchase").alias("type"),
        pl.col("InvoiceDate").dt.epoch("ms").alias("time"),
        pl.col("Quantity").cast(pl.Float64).alias("quantity"),
        pl.col("Price").alias("price"),
        pl.col("Invoice").alias("order_id"),
    )
    return CleanedShop(
        items=items.sort("StockCode").select(
            pl.col("StockCode").alias("item_id"),
            pl.col("Description").str.strip_chars().alias("title"),
            pl.col("Price").alias("price"),
        ),
        events=events,
        raw=raw,
        dropped=dropped,
    )


def write_import_folder(shop: CleanedShop, folder: Path) -> None:
    """Write the files that ``endcap import`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    shop.items.write_parquet(folder / "items.parquet")
    shop.events.write_parquet(folder / "events.parquet")

"""Rows of a file as changes of items and users."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl

from endcap.catalog.fields.money import to_nanos
from endcap.catalog.importing.cells import read_attributes, read_localized_texts
from endcap.catalog.importing.table_files.table_file import Chunk
from endcap.catalog.items.entry_changes import Change
from endcap.catalog.items.items import Availability


_AMOUNTS: Mapping[str, str] = {
    "price": "price_nanos",
    "original_price": "original_price_nanos",
    "cost": "cost_nanos",
}
_TEXTS = ("title", "description", "language_code", "brand", "group_id")
_LISTS = ("categories", "tags", "image_uris")
_TIMES = ("available_time", "expire_time")


def given_columns(
    chunk: Chunk, columns: Mapping[str, str], values: Mapping[str, str]
) -> dict[int, frozenset[str]]:
    """Return for each line the columns that it has, as the import calls them.

    Args:
        chunk: The lines.
        columns: The names in the file of the columns that it has.
        values: The values of columns that it does not have.
    """
    lines = chunk.rows["line"].to_list()
    everywhere = frozenset(values)
    if chunk.names is None:
        return dict.fromkeys(lines, everywhere.union(columns))
    return {
        line: everywhere.union(name for name, source in columns.items() if source in names)
        for line, names in zip(lines, chunk.names, strict=True)
    }


def read_item_changes(
    rows: pl.DataFrame, given: Mapping[int, frozenset[str]], currency: str
) -> dict[int, Change]:
    """Return the changes of items in valid rows, by place.

    Args:
        rows: Valid rows, with the columns of items.
        given: The columns that each line has, including empty cells.
        currency: ISO 4217 code of amounts in rows without a currency; empty for the shop's currency.
    """
    return {
        place: Change(row["item_id"], _item_values(row, given[row["line"]], currency))
        for place, row in enumerate(rows.to_dicts())
    }


def read_user_changes(rows: pl.DataFrame, given: Mapping[int, frozenset[str]]) -> dict[int, Change]:
    """Return the changes of users in valid rows, by place.

    Args:
        rows: Valid rows, with the columns of users.
        given: The columns that each line has, including empty cells.
    """
    return {
        place: Change(row["user_id"], _values(row, given[row["line"]]))
        for place, row in enumerate(rows.to_dicts())
    }


@lru_cache(maxsize=65_536)  # a shop has few distinct prices, and exact parsing is slow
def amount_nanos(amount: float | None) -> int | None:
    """Return an amount in billionths of a unit."""
    return None if amount is None else to_nanos(amount)


def _item_values(row: Mapping[str, Any], given: frozenset[str], currency: str) -> dict[str, Any]:
    values = _values(row, given)
    for column, name in _AMOUNTS.items():
        if column in given:
            values[name] = amount_nanos(row[column])
    if "localized_texts" in given:
        values["localized_texts"] = read_localized_texts(row["localized_texts"] or "{}")
    if row["availability"] is not None:
        values["availability"] = Availability(row["availability"])
    elif not given.isdisjoint(("available", "availability")):
        is_missing = row["available"] is False
        values["availability"] = Availability.OUT_OF_STOCK if is_missing else Availability.IN_STOCK
    if row["currency"] is not None:
        values["currency"] = row["currency"]
    elif currency and not given.isdisjoint(_AMOUNTS):
        values["currency"] = currency
    return values


def _values(row: Mapping[str, Any], given: frozenset[str]) -> dict[str, Any]:
    """Return the fields that items and users share."""
    values: dict[str, Any] = {name: row[name] or "" for name in _TEXTS if name in given}
    values |= {name: tuple(row[name] or ()) for name in _LISTS if name in given}
    values |= {name: row[name] for name in _TIMES if name in given}
    if row["created_time"] is not None:
        values["created_time"] = row["created_time"]
    if "attributes" in given:
        values["attributes"] = read_attributes(row["attributes"] or "{}")
    return values

"""What rows of a file change: what a row says counts, and what it does not say stays as it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import polars as pl

from endcap.catalog.field_rules import check_availability_times
from endcap.catalog.importing.cells import read_attributes, read_localized_texts
from endcap.catalog.items import Availability, Item
from endcap.catalog.money import to_nanos
from endcap.catalog.user_records import UserRecord
from endcap.sdk.errors import InvalidInput


_Entry = TypeVar("_Entry", Item, UserRecord)

_AMOUNTS: Mapping[str, str] = {
    "price": "price_nanos",
    "original_price": "original_price_nanos",
    "cost": "cost_nanos",
}
_TEXTS = ("title", "description", "language_code", "brand", "group_id")
_LISTS = ("categories", "tags", "image_uris")
_TIMES = ("available_time", "expire_time")


@dataclass(frozen=True, slots=True)
class ItemChange:
    """What a row says of an item."""

    id: str
    values: Mapping[str, Any]
    """By name in ``Item``."""

    def apply(self, stored: Item | None, *, currency: str) -> Item:
        """Return the item as it becomes.

        Args:
            stored: As it is; None if there is none.
            currency: The shop's.

        Raises:
            InvalidInput: What the row says does not fit what is stored; the message is one of few.
        """
        item = _changed(Item(self.id) if stored is None else stored, self.values)
        if not item.title and (stored is None or "title" in self.values):
            raise InvalidInput("title is missing", field="title")
        check_availability_times(item.available_time, item.expire_time)
        if stored is not None and (stored.currency or currency) != (item.currency or currency):
            for name in _AMOUNTS.values():
                if name not in self.values and getattr(stored, name) is not None:
                    raise InvalidInput("currency is not that of the stored amounts", field="currency")
        return item


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a row says of a user."""

    id: str
    values: Mapping[str, Any]
    """By name in ``UserRecord``."""

    def apply(self, stored: UserRecord | None) -> UserRecord:
        """Return the record as it becomes.

        Args:
            stored: As it is; None if there is none.
        """
        return _changed(UserRecord(self.id) if stored is None else stored, self.values)


def read_item_changes(
    rows: pl.DataFrame, given: Mapping[int, frozenset[str]], currency: str
) -> list[ItemChange]:
    """Return what good rows say of items.

    Args:
        rows: With the columns of items.
        given: For each line, the columns that it has, empty cells included.
        currency: ISO 4217 code of the amounts of rows that name none; empty for the shop's.
    """
    return [
        ItemChange(row["item_id"], _item_values(row, given[row["line"]], currency)) for row in rows.to_dicts()
    ]


def read_user_changes(rows: pl.DataFrame, given: Mapping[int, frozenset[str]]) -> list[UserChange]:
    """Return what good rows say of users.

    Args:
        rows: With the columns of users.
        given: For each line, the columns that it has, empty cells included.
    """
    return [UserChange(row["user_id"], _values(row, given[row["line"]])) for row in rows.to_dicts()]


@lru_cache(maxsize=65_536)  # a shop has few prices, and the exact way to read one is slow
def amount_nanos(amount: float | None) -> int | None:
    """Return an amount in billionths of a unit."""
    return None if amount is None else to_nanos(amount)


def _changed(entry: _Entry, values: Mapping[str, Any]) -> _Entry:
    return replace(entry, **values)


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
    """Return what items and users have in common."""
    values: dict[str, Any] = {name: row[name] or "" for name in _TEXTS if name in given}
    values |= {name: tuple(row[name] or ()) for name in _LISTS if name in given}
    values |= {name: row[name] for name in _TIMES if name in given}
    if row["created_time"] is not None:
        values["created_time"] = row["created_time"]
    if "attributes" in given:
        values["attributes"] = read_attributes(row["attributes"] or "{}")
    return values

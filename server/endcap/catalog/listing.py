"""Lists of items and users, filtered, page by page in the order of their ids.

The database narrows a list down to what ``filter_conditions`` can say in SQL, and the rest of a filter is
read by ``filtering`` entry by entry. A page reads ``MAX_SCANNED`` entries at most: it then ends early, even
without an entry, and says where the next one goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, false
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import counting
from endcap.catalog.filter_conditions import FilterColumns, equivalent_condition, implied_condition
from endcap.catalog.filtering import FieldValue, ListFields, matches
from endcap.catalog.items import Availability, Item, list_items
from endcap.catalog.money import to_units
from endcap.catalog.shops import Shop
from endcap.catalog.tables import ITEMS, USER_RECORDS
from endcap.catalog.user_records import UserRecord, list_user_records
from endcap.sdk.filter_expression import Expression
from endcap.sdk.filter_fields import FieldType
from endcap.sdk.filters import ITEM_FIELDS


MAX_SCANNED = 10_000
"""Entries that are read for one page at most."""

_CHUNK = 500  # entries read at a time where the database cannot tell which ones meet the filter

ITEM_LIST_FIELDS = ListFields(
    MappingProxyType(
        {
            **ITEM_FIELDS,
            "language_code": FieldType.CODE,
            "available_time": FieldType.TIME,
            "expire_time": FieldType.TIME,
            "update_time": FieldType.TIME,
        }
    ),
    searched=("title", "brand", "categories", "tags"),
)
"""What a list of items is filtered by: what answers are filtered by, and a little more."""


USER_LIST_FIELDS = ListFields(
    MappingProxyType(
        {
            "id": FieldType.TEXT,
            "user_id": FieldType.TEXT,
            "tags": FieldType.TEXTS,
            "language_code": FieldType.CODE,
            "create_time": FieldType.TIME,
            "update_time": FieldType.TIME,
            "attributes": FieldType.ATTRIBUTES,
        }
    ),
    searched=("id", "tags"),
)
"""What a list of users is filtered by."""


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Entry = TypeVar("Entry", bound=_Identified)


@dataclass(frozen=True, slots=True)
class FilteredPage(Generic[Entry]):
    """A page of a list."""

    entries: Sequence[Entry]

    last: str
    """The id that the next page comes after; empty on the last page."""


async def list_matching_items(
    *,
    connection: AsyncConnection,
    shop: Shop,
    expression: Expression,
    limit: int,
    after: str,
    now: int,
) -> FilteredPage[Item]:
    """Return a page of the items that meet a filter.

    Args:
        connection: Any.
        shop: Whose items.
        expression: Read with ``ITEM_LIST_FIELDS``.
        limit: How many items at most.
        after: The ``last`` of the page before; empty for the first page.
        now: Unix milliseconds that tell whether an item is available.
    """
    columns = FilterColumns(
        texts={name: ITEMS.c[column] for name, column in _ITEM_TEXTS.items()},
        lists={name: ITEMS.c[column] for name, column in _ITEM_LISTS.items()},
        times={name: ITEMS.c[column] for name, column in _ITEM_TIMES.items()},
        amounts={name: ITEMS.c[f"{name}_nanos"] for name in ("price", "original_price")},
        comparable=ITEMS.c.currency.in_(("", shop.currency)),
    )
    return await _page(
        partial(list_items, connection=connection, shop=shop.id),
        lambda item: matches(expression, ITEM_LIST_FIELDS, item_values(item, shop, now)),
        implied_condition(expression, columns, connection.dialect.name),
        is_exact=equivalent_condition(expression, columns, connection.dialect.name) is not None,
        limit=limit,
        after=after,
    )


_ITEM_TEXTS: Mapping[str, str] = {
    name: name for name in ("id", "group_id", "title", "description", "brand")
} | {
    "item_id": "id",
    "availability": "availability",
    "language_code": "language_code",
}
_ITEM_LISTS: Mapping[str, str] = {"categories": "categories", "category": "categories", "tags": "tags"}
_ITEM_TIMES: Mapping[str, str] = {
    "create_time": "created_time",
    "update_time": "updated_time",
    "available_time": "available_time",
    "expire_time": "expire_time",
}


def item_values(item: Item, shop: Shop, now: int) -> Mapping[str, FieldValue]:
    """Return what filters read of an item, by field.

    Args:
        item: The item.
        shop: Its shop, which says the currency and the types of attributes.
        now: Unix milliseconds that tell whether it is available.
    """
    is_comparable = item.currency in {"", shop.currency}

    def units(nanos: int | None) -> float | None:
        return None if nanos is None or not is_comparable else to_units(nanos)

    return {
        "id": item.id,
        "item_id": item.id,
        "group_id": item.group_id,
        "title": item.title,
        "description": item.description,
        "brand": item.brand,
        "categories": item.categories,
        "category": item.categories,
        "tags": item.tags,
        "price": units(item.price_nanos),
        "original_price": units(item.original_price_nanos),
        "currency": item.currency or shop.currency,
        "available": item.availability != Availability.OUT_OF_STOCK
        and (item.available_time is None or item.available_time <= now)
        and (item.expire_time is None or now < item.expire_time),
        "availability": item.availability,
        "language_code": item.language_code,
        "create_time": item.created_time,
        "update_time": item.updated_time,
        "available_time": item.available_time,
        "expire_time": item.expire_time,
        "attributes": counting(item.attributes, shop.attributes),
    }


async def list_matching_users(
    *, connection: AsyncConnection, shop: str, expression: Expression, limit: int, after: str
) -> FilteredPage[UserRecord]:
    """Return a page of the user records that meet a filter.

    Args:
        connection: Any.
        shop: The shop's id.
        expression: Read with ``USER_LIST_FIELDS``.
        limit: How many records at most.
        after: The ``last`` of the page before; empty for the first page.
    """
    columns = FilterColumns(
        texts={
            "id": USER_RECORDS.c.id,
            "user_id": USER_RECORDS.c.id,
            "language_code": USER_RECORDS.c.language_code,
        },
        lists={"tags": USER_RECORDS.c.tags},
        times={"create_time": USER_RECORDS.c.created_time, "update_time": USER_RECORDS.c.updated_time},
        amounts={},
        comparable=false(),
    )
    return await _page(
        partial(list_user_records, connection=connection, shop=shop),
        lambda record: matches(expression, USER_LIST_FIELDS, _user_values(record)),
        implied_condition(expression, columns, connection.dialect.name),
        is_exact=equivalent_condition(expression, columns, connection.dialect.name) is not None,
        limit=limit,
        after=after,
    )


def _user_values(record: UserRecord) -> Mapping[str, FieldValue]:
    return {
        "id": record.id,
        "user_id": record.id,
        "tags": record.tags,
        "language_code": record.language_code,
        "create_time": record.created_time,
        "update_time": record.updated_time,
        "attributes": record.attributes,
    }


class _List(Protocol[Entry]):
    """Lists the entries whose rows meet a condition, in the order of their ids."""

    def __call__(
        self, *, limit: int, after: str, condition: ColumnElement[bool]
    ) -> Awaitable[list[Entry]]: ...


async def _page(
    list_entries: _List[Entry],
    is_met: Callable[[Entry], bool],
    condition: ColumnElement[bool],
    *,
    is_exact: bool,
    limit: int,
    after: str,
) -> FilteredPage[Entry]:
    wanted = limit + 1  # one more says whether the page is the last one
    found: list[Entry] = []
    size = wanted if is_exact else _CHUNK
    for _ in range(0, MAX_SCANNED, size):
        chunk = await list_entries(limit=size, after=after, condition=condition)
        # Looking into long texts takes a while, which other calls should not wait for.
        found += await asyncio.to_thread(lambda entries: list(filter(is_met, entries)), chunk)
        if len(found) >= wanted:
            return FilteredPage(found[:limit], found[limit - 1].id)
        if len(chunk) < size:
            return FilteredPage(found, "")
        after = chunk[-1].id
    return FilteredPage(found, after)

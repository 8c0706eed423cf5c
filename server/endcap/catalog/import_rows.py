"""What an import knows: the columns of items, users and events, and what a row of them stands for."""

import hashlib
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import polars as pl

from endcap.catalog.events import Event
from endcap.catalog.items import Availability, Item
from endcap.catalog.money import to_nanos
from endcap.catalog.rejecting import Column, Kind
from endcap.catalog.user_records import UserRecord


class Subject(StrEnum):
    """What the rows of a file are, in the order in which they are imported."""

    ITEMS = "items"
    USERS = "users"
    EVENTS = "events"


COLUMNS: Mapping[Subject, tuple[Column, ...]] = {
    Subject.ITEMS: (
        Column("item_id", Kind.ID, required=True),
        Column("title", Kind.TEXT, required=True, length=1_024),
        Column("description", Kind.TEXT, length=16_384),
        Column("language_code", Kind.TEXT, length=35),
        Column("categories", Kind.TEXTS),
        Column("brand", Kind.TEXT),
        Column("tags", Kind.TEXTS),
        Column("price", Kind.AMOUNT),
        Column("original_price", Kind.AMOUNT),
        Column("cost", Kind.AMOUNT),
        Column("currency", Kind.TEXT, length=3),
        Column("image_uris", Kind.TEXTS, length=2_048, entries=16),
        Column("available", Kind.FLAG),
        Column("availability", Kind.AVAILABILITY),
        Column("available_time", Kind.TIME),
        Column("expire_time", Kind.TIME),
        Column("group_id", Kind.ID),
        Column("created_time", Kind.TIME),
        Column("attributes", Kind.OBJECT),
    ),
    Subject.USERS: (
        Column("user_id", Kind.ID, required=True),
        Column("tags", Kind.TEXTS),
        Column("language_code", Kind.TEXT, length=35),
        Column("attributes", Kind.OBJECT),
        Column("created_time", Kind.TIME),
    ),
    Subject.EVENTS: (
        Column("item_id", Kind.ID, required=True),
        Column("type", Kind.ID, required=True, length=64),
        Column("time", Kind.TIME, required=True),
        Column("user_id", Kind.ID),
        Column("visitor_id", Kind.ID),
        Column("event_id", Kind.ID),
        Column("quantity", Kind.QUANTITY),
        Column("price", Kind.AMOUNT),
        Column("currency", Kind.TEXT, length=3),
        Column("value", Kind.NUMBER),
        Column("order_id", Kind.ID),
        Column("attribution_token", Kind.TEXT, length=2_048),
        Column("properties", Kind.OBJECT),
    ),
}

ONE_OF_EACH: Mapping[Subject, tuple[str, ...]] = {
    Subject.ITEMS: (),
    Subject.USERS: (),
    Subject.EVENTS: ("user_id", "visitor_id"),
}
"""Columns of which every row needs at least one."""


MAX_LEAD = 300_000
"""Milliseconds that the time of an event may lie in the future, for clocks differ."""


def refusals(subject: Subject, now: int) -> dict[str, pl.Expr]:
    """Return the rows that must be rejected although each cell is fine, by reason.

    Args:
        subject: What the rows are.
        now: Unix milliseconds.
    """
    if subject is not Subject.EVENTS:
        return {}
    return {
        "user_id and visitor_id are missing": pl.col("user_id").is_null() & pl.col("visitor_id").is_null(),
        "time lies in the future": pl.col("time") > now + MAX_LEAD,
    }


def read_items(rows: pl.DataFrame, currency: str) -> list[Item]:
    """Return the items of good rows.

    Args:
        rows: With the columns of items.
        currency: ISO 4217 code of the prices of rows that name none; empty for the shop's.
    """
    return [_item(row, currency) for row in rows.to_dicts()]


def read_users(rows: pl.DataFrame) -> list[UserRecord]:
    """Return the users of good rows.

    Args:
        rows: With the columns of users.
    """
    return [
        UserRecord(
            id=row["user_id"],
            tags=tuple(row["tags"] or ()),
            attributes=json.loads(row["attributes"] or "{}"),
            language_code=row["language_code"] or "",
            created_time=row["created_time"],
        )
        for row in rows.to_dicts()
    ]


def read_events(rows: pl.DataFrame, currency: str) -> list[Event]:
    """Return the events of good rows.

    An event without an id gets one from its line and its content: a file that is imported again adds
    nothing, nor does one that has grown since but for its new lines.

    Args:
        rows: With the columns of events.
        currency: ISO 4217 code of the prices of rows that name none; empty for the shop's.
    """
    names = [column.name for column in COLUMNS[Subject.EVENTS]]
    # Named, so that a column which a later release knows as well changes no content.
    cells = [pl.format(f"{name}={{}}", pl.col(name)) for name in names]
    contents = rows.select(pl.concat_str(cells, separator="\x1f", ignore_nulls=True)).to_series()
    event = _event_reader(currency)
    return [
        event(content, *row)
        for content, row in zip(contents, rows.select("line", *names).iter_rows(), strict=True)
    ]


def _item(row: Mapping[str, Any], currency: str) -> Item:
    available = Availability.OUT_OF_STOCK if row["available"] is False else Availability.IN_STOCK
    return Item(
        id=row["item_id"],
        title=row["title"],
        description=row["description"] or "",
        language_code=row["language_code"] or "",
        categories=tuple(row["categories"] or ()),
        brand=row["brand"] or "",
        tags=tuple(row["tags"] or ()),
        attributes=json.loads(row["attributes"] or "{}"),
        price_nanos=_nanos(row["price"]),
        original_price_nanos=_nanos(row["original_price"]),
        cost_nanos=_nanos(row["cost"]),
        currency=row["currency"] or currency,
        image_uris=tuple(row["image_uris"] or ()),
        availability=Availability(row["availability"] or available),
        available_time=row["available_time"],
        expire_time=row["expire_time"],
        group_id=row["group_id"] or "",
        created_time=row["created_time"],
    )


def _event_reader(default_currency: str) -> Callable[..., Event]:
    def read(  # noqa: PLR0917 - the columns in their order
        content: str,
        line: int,
        item_id: str,
        type_: str,
        time: int,
        user_id: str | None,
        visitor_id: str | None,
        event_id: str | None,
        quantity: float | None,
        price: float | None,
        currency: str | None,
        value: float | None,
        order_id: str | None,
        attribution_token: str | None,
        properties: str | None,
    ) -> Event:
        return Event(
            event_id=_line_id(line, content) if event_id is None else event_id,
            type=type_,
            item_id=item_id,
            time=time,
            user_id=user_id,
            visitor_id=visitor_id,
            quantity=1.0 if quantity is None else quantity,
            price_nanos=_nanos(price),
            currency="" if price is None else currency or default_currency,
            value=value,
            attribution_token=attribution_token or "",
            order_id=order_id or "",
            properties={} if properties is None else json.loads(properties),
        )

    return read


def _line_id(line: int, content: str) -> str:
    digest = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    # Ids that ascend are stored several times faster than ids in no order.
    return f"row-{line:010d}-{digest}"


@lru_cache(maxsize=65_536)  # a shop has few prices, and the exact way to read one is slow
def _nanos(price: float | None) -> int | None:
    return None if price is None else to_nanos(price)

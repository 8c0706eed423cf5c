"""The columns of items, users and events, and the event of a row."""

import hashlib
from collections.abc import Callable, Mapping
from enum import StrEnum

import polars as pl

from endcap.catalog.events.events import Attribution, Event
from endcap.catalog.fields.limits import LIMITS, MAX_LEAD
from endcap.catalog.importing.cells import Kind, read_attributes
from endcap.catalog.importing.changes import amount_nanos
from endcap.catalog.importing.rejecting import Column


class Subject(StrEnum):
    """The subjects of files, in the order in which they are imported."""

    ITEMS = "items"
    USERS = "users"
    EVENTS = "events"


def _column(name: str, kind: Kind, *, required: bool = False, may_be_empty: bool = False) -> Column:
    """Return a column with its limits from the table of limits."""
    length = LIMITS.get(f"{name} value", LIMITS.get(name, 0))
    return Column(name, kind, required, may_be_empty, length=length, entries=LIMITS.get(name, 0))


COLUMNS: Mapping[Subject, tuple[Column, ...]] = {
    Subject.ITEMS: (
        _column("item_id", Kind.ID, required=True),
        _column("title", Kind.TEXT),
        _column("description", Kind.TEXT),
        _column("language_code", Kind.LANGUAGE),
        _column("localized_texts", Kind.LOCALIZED_TEXTS),
        _column("categories", Kind.TEXTS),
        _column("brand", Kind.TEXT),
        _column("tags", Kind.TEXTS),
        _column("price", Kind.AMOUNT),
        _column("original_price", Kind.AMOUNT),
        _column("cost", Kind.AMOUNT),
        _column("currency", Kind.CURRENCY),
        _column("image_uris", Kind.ADDRESSES),
        _column("available", Kind.FLAG),
        _column("availability", Kind.AVAILABILITY),
        _column("available_time", Kind.TIME),
        _column("expire_time", Kind.TIME),
        _column("group_id", Kind.ID),
        _column("created_time", Kind.TIME),
        _column("attributes", Kind.ATTRIBUTES),
    ),
    Subject.USERS: (
        _column("user_id", Kind.ID, required=True),
        _column("tags", Kind.TEXTS),
        _column("language_code", Kind.LANGUAGE),
        _column("attributes", Kind.ATTRIBUTES),
        _column("created_time", Kind.TIME),
    ),
    Subject.EVENTS: (
        _column("item_id", Kind.ID, required=True, may_be_empty=True),
        _column("type", Kind.TYPE, required=True),
        _column("time", Kind.TIME, required=True),
        _column("user_id", Kind.ID),
        _column("visitor_id", Kind.ID),
        _column("event_id", Kind.ID),
        _column("quantity", Kind.QUANTITY),
        _column("price", Kind.AMOUNT),
        _column("currency", Kind.CURRENCY),
        _column("value", Kind.NUMBER),
        _column("order_id", Kind.ID),
        _column("attribution_token", Kind.TEXT),
        _column("properties", Kind.PROPERTIES),
        _column("query", Kind.TEXT),
        _column("reversed_event_id", Kind.ID),
        _column("unit_cost", Kind.AMOUNT),
    ),
}

ONE_OF_EACH: Mapping[Subject, tuple[str, ...]] = {
    Subject.ITEMS: (),
    Subject.USERS: (),
    Subject.EVENTS: ("user_id", "visitor_id"),
}
"""By subject, columns of which every row needs at least one."""


def refusals(subject: Subject, now: int) -> dict[str, pl.Expr]:
    """Return the conditions of rows to reject although each of their cells is valid, by reason.

    Args:
        subject: The subject of the rows.
        now: Unix milliseconds.
    """
    if subject is not Subject.EVENTS:
        return {"created_time lies in the future": pl.col("created_time") > now + MAX_LEAD}
    return {
        "user_id and visitor_id are missing": pl.col("user_id").is_null() & pl.col("visitor_id").is_null(),
        "time lies before 1970": pl.col("time") < 0,
        "time lies in the future": pl.col("time") > now + MAX_LEAD,
    }


def read_events(rows: pl.DataFrame, currency: str) -> list[Event]:
    """Return the events of valid rows.

    An event without an id gets one from its line and content, so importing a file again adds nothing, and a
    file that has grown adds only its new lines.

    Args:
        rows: Valid rows, with the columns of events.
        currency: ISO 4217 code of prices in rows without a currency; empty for the shop's currency.
    """
    names = [column.name for column in COLUMNS[Subject.EVENTS]]
    # Names are included, so that a column added by a later release does not change the ids of other rows.
    cells = [pl.format(f"{name}={{}}", pl.col(name)) for name in names]
    contents = rows.select(pl.concat_str(cells, separator="\x1f", ignore_nulls=True)).to_series()
    event = _event_reader(currency)
    return [
        event(content, *row)
        for content, row in zip(contents, rows.select("line", *names).iter_rows(), strict=True)
    ]


def _event_reader(default_currency: str) -> Callable[..., Event]:
    def read(  # noqa: PLR0917 - the columns in their order
        content: str,
        line: int,
        item_id: str | None,
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
        query: str | None,
        reversed_event_id: str | None,
        unit_cost: float | None,
    ) -> Event:
        return Event(
            event_id=_line_id(line, content) if event_id is None else event_id,
            type=type_,
            item_id=item_id or "",
            time=time,
            user_id=user_id,
            visitor_id=visitor_id,
            quantity=quantity or 1.0,
            price_nanos=amount_nanos(price),
            currency="" if price is None and unit_cost is None else currency or default_currency,
            value=value,
            attribution_token=attribution_token or "",
            attribution=Attribution.UNCHECKED if attribution_token else Attribution.NONE,
            order_id=order_id or "",
            properties={} if properties is None else read_attributes(properties),
            query=query or "",
            reversed_event_id=reversed_event_id or "",
            unit_cost_nanos=amount_nanos(unit_cost),
        )

    return read


def _line_id(line: int, content: str) -> str:
    digest = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    # Ascending ids are stored several times faster than unordered ones.
    return f"row-{line:010d}-{digest}"

"""Events: each is stored once, in an order that every process sees."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import nan
from typing import Any, TypeAlias

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import EVENTS
from endcap.sdk.positives import RATING


class Attribution(StrEnum):
    """The result of comparing an event with its attribution token."""

    NONE = "none"
    """The event has no token."""

    VALID = "valid"
    """The answer was for the person of the event, and showed its item if the event has one."""

    FOREIGN_ITEM = "foreign_item"
    """The answer did not show the item."""

    FOREIGN_UNIT = "foreign_unit"
    """The answer was for somebody else."""

    INVALID = "invalid"
    """The shop did not make the token; the token is not stored."""

    UNCHECKED = "unchecked"
    """The token came with an imported file, or the query for logins failed."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody did. At least one of ``user_id`` and ``visitor_id`` is set."""

    event_id: str
    """Unique within the shop."""

    type: str

    item_id: str
    """Empty for an event without an item, such as a search."""

    time: int
    """Unix milliseconds."""

    user_id: str | None = None
    visitor_id: str | None = None
    quantity: float = 1.0

    price_nanos: int | None = None
    """Billionths of a unit of ``currency``, for one piece."""

    currency: str = ""
    """ISO 4217 code; empty for the shop's."""

    value: float | None = None
    attribution_token: str = ""
    order_id: str = ""

    query: str = ""
    """The text that was searched."""

    reversed_event_id: str = ""
    """The earlier event that this one takes back; empty for none."""

    unit_cost_nanos: int | None = None
    """The shop's cost of one piece, like ``price_nanos``."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by name."""

    attribution: Attribution = Attribution.NONE

    reversed_revision: int | None = None
    """The shop's revision at which later events took back all of this one; such an event leaves histories."""

    time_is_given: bool = True
    """False if ``time`` is the time of the call, so that a repeated call still counts as the same event."""


def event_value(event_type: str, quantity: float, value: float | None) -> float:
    """Return what ``History.values`` says of an event: the rating of a rating, the quantity of another."""
    if event_type != RATING:
        return quantity
    return nan if value is None else value


_AT_ONCE = 100  # rows read between two turns of the event loop: about a millisecond

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_APART = {"reversed_revision", "time_is_given"}
EVENT_COLUMNS = tuple(attribute.name for attribute in fields(Event) if attribute.name not in _APART)
"""The fields of an event that are columns of its table and never change."""

COUNTS = and_(EVENTS.c.item_id != "", EVENTS.c.reversed_event_id == "", EVENTS.c.reversed_revision.is_(None))
"""The condition that an event counts: it has an item, takes nothing back, and is not taken back."""


class Outcome(StrEnum):
    """The result of one event."""

    ACCEPTED = "accepted"

    DUPLICATE = "duplicate"
    """The same event was stored before."""

    CONFLICT = "conflict"
    """Another event was stored before under this id; this event was not stored."""

    NOTHING_REVERSED = "nothing_reversed"
    """The event names an event to take back that its person does not have; it was not stored."""

    USER_DELETED = "user_deleted"
    """The user or visitor of the event was deleted; the event was not stored."""


Row: TypeAlias = tuple[Any, ...]
"""A row of the table, with values as the driver takes them."""


async def events_after(*, connection: AsyncConnection, shop: str, revision: int) -> list[tuple[int, Event]]:
    """Return the events after a revision in order, each with the revision that stored it."""
    query = (
        select(EVENTS.c.revision, *(EVENTS.c[name] for name in EVENT_COLUMNS))
        .where(EVENTS.c.shop == shop, EVENTS.c.revision > revision)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    result = await connection.stream(query)
    return [
        (of, Event(**dict(zip(EVENT_COLUMNS, values, strict=True))))
        async for part in result.partitions(_AT_ONCE)
        for of, *values in part
    ]


def event_row(shop: str, event: Event) -> Row:
    """Return the row of an event, without its revision, which is the last column."""
    return (
        shop,
        event.event_id,
        event.type,
        event.user_id,
        event.visitor_id,
        event.item_id,
        event.time,
        event.quantity,
        event.price_nanos,
        event.currency,
        event.value,
        event.attribution_token,
        event.order_id,
        event.query,
        event.reversed_event_id,
        event.unit_cost_nanos,
        _encode(dict(event.properties)) if event.properties else "{}",
        event.attribution.value,
    )

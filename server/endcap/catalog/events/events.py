"""Events, in an order that every process sees."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import EVENTS


class Attribution(StrEnum):
    """What an event's attribution token says of it."""

    NONE = "none"
    """There was no token."""

    VALID = "valid"
    """The answer showed the item, to the one who did it."""

    FOREIGN_ITEM = "foreign_item"
    """The answer did not show the item."""

    FOREIGN_UNIT = "foreign_unit"
    """The answer was for somebody else."""

    INVALID = "invalid"
    """The shop did not make the token, which is not stored."""

    UNCHECKED = "unchecked"
    """The token came with an imported file, or the database did not tell who logged in."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody did with an item. At least one of ``user_id`` and ``visitor_id`` is set."""

    event_id: str
    """Unique within the shop."""

    type: str
    item_id: str

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

    properties: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by name."""

    attribution: Attribution = Attribution.NONE

    time_is_given: bool = True
    """False when ``time`` is only that of the call, so that a repeated call is still the same event."""


_AT_ONCE = 100  # rows that are read between two turns of the event loop: about a millisecond

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_COLUMNS = tuple(attribute.name for attribute in fields(Event) if attribute.name != "time_is_given")


class Outcome(StrEnum):
    """The result of one event."""

    ACCEPTED = "accepted"

    DUPLICATE = "duplicate"
    """The same event was stored before."""

    CONFLICT = "conflict"
    """Another event was stored before under this id; this one was not."""

    USER_DELETED = "user_deleted"
    """Its user or visitor was deleted: it was not stored."""


Row: TypeAlias = tuple[Any, ...]
"""A row of the table, as the driver takes it."""


async def events_after(*, connection: AsyncConnection, shop: str, revision: int) -> list[tuple[int, Event]]:
    """Return the events of later revisions than ``revision``, each with its own, in their order."""
    query = (
        select(EVENTS.c.revision, *(EVENTS.c[name] for name in _COLUMNS))
        .where(EVENTS.c.shop == shop, EVENTS.c.revision > revision)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    result = await connection.stream(query)
    return [
        (of, Event(**dict(zip(_COLUMNS, values, strict=True))))
        async for part in result.partitions(_AT_ONCE)
        for of, *values in part
    ]


def event_row(shop: str, event: Event) -> Row:
    """Return the row of an event, but for its revision, which is the last column."""
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
        _encode(dict(event.properties)) if event.properties else "{}",
        event.attribution.value,
    )

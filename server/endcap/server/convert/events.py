"""Events, and why one is rejected."""

import math
import re
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from endcap.catalog.events import Event
from endcap.catalog.shops import EVENT_TYPE
from endcap.sdk.errors import InvalidInput
from endcap.server.convert.attributes import read_attributes
from endcap.server.convert.fields import Fields
from endcap.server.convert.money import read_money
from endcap.server.limits import LIMITS, MAX_EVENT_LEAD_SECONDS, check_id, check_limit
from endcap.v1 import event_pb2, rejection_pb2


MAX_QUANTITY = 1_000_000

_SHOWN = 128  # characters of an id
_DAY = 86_400_000  # milliseconds
_PROPERTY_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "event_id": "INVALID_EVENT_ID",
        "type": "INVALID_TYPE",
        "user_id": "INVALID_USER_ID",
        "visitor_id": "INVALID_USER_ID",
        "item_id": "INVALID_ITEM_ID",
        "time": "INVALID_TIME",
        "quantity": "INVALID_QUANTITY",
        "price": "INVALID_PRICE",
        "value": "INVALID_VALUE",
        "attribution_token": "INVALID_TOKEN",
        "order_id": "INVALID_ORDER_ID",
        "properties": "INVALID_PROPERTY",
    }
)
"""The reason for which a field that holds something wrong rejects its event."""


class EventRefused(InvalidInput):
    """An event is rejected for a reason that its field alone does not tell."""

    def __init__(self, reason: str, message: str, *, field: str) -> None:
        super().__init__(message, field=field)
        self.rejection_reason = reason
        """As the contract names it."""


def read_event(message: event_pb2.Event, *, now: int, max_age_days: int) -> Event:
    """Read an event and check it; one without an id is given it.

    Args:
        message: As it came.
        now: Unix milliseconds; the time of an event that names none.
        max_age_days: Age of the oldest event that the shop takes.

    Raises:
        InvalidInput: A field is missing, too long, or holds what it must not.
    """
    if not message.item_id:
        raise EventRefused("MISSING_ITEM", "item_id is required: name the item", field="item_id")
    if not message.user_id and not message.visitor_id:
        raise EventRefused(
            "MISSING_USER", "user_id or visitor_id is required: say who did it", field="user_id"
        )
    for field in ("event_id", "user_id", "visitor_id", "item_id", "order_id"):
        if identifier := getattr(message, field):
            check_id(field, identifier)
    if not EVENT_TYPE.fullmatch(message.type):
        raise InvalidInput("type must be 1 to 64 of a-z, 0-9 and _", field="type")
    check_limit("attribution_token", message.attribution_token)
    if not 0 <= message.quantity <= MAX_QUANTITY:  # as is no comparison with NaN
        raise InvalidInput(f"quantity must be from 0 to {MAX_QUANTITY}; 0 stands for 1", field="quantity")
    if not math.isfinite(message.value):
        raise InvalidInput("value must be a finite number", field="value")
    time = _read_time(message, now=now, max_age_days=max_age_days)
    price = read_money(message.price, field="price") if message.HasField("price") else None
    return Event(
        event_id=message.event_id or uuid.uuid4().hex,
        type=message.type,
        item_id=message.item_id,
        time=now if time is None else time,
        user_id=message.user_id or None,
        visitor_id=message.visitor_id or None,
        quantity=message.quantity or 1.0,
        price_nanos=price.nanos if price else None,
        currency=price.currency if price else "",
        value=message.value if message.HasField("value") else None,
        attribution_token=message.attribution_token,
        order_id=message.order_id,
        properties=_read_properties(message) if message.properties else {},
        time_is_given=time is not None,
    )


def write_rejection(index: int, message: event_pb2.Event, error: InvalidInput) -> rejection_pb2.Rejection:
    """Write why an event was not stored.

    Args:
        index: Its place in the request.
        message: The event as it came.
        error: What is wrong with it.
    """
    if isinstance(error, EventRefused):
        reason = error.rejection_reason
    else:
        reason = _REASONS[error.field.partition(".")[0]]
    return rejection_pb2.Rejection(
        index=index, id=message.event_id[:_SHOWN], reason=reason, field=error.field, message=str(error)
    )


def _read_time(message: event_pb2.Event, *, now: int, max_age_days: int) -> int | None:
    time = Fields(message, "").time("time")
    if time is None:
        return None
    if time < 0:
        raise InvalidInput("time must not lie before 1970", field="time")
    if time > now + MAX_EVENT_LEAD_SECONDS * 1000:
        raise EventRefused(
            "TIME_IN_FUTURE",
            f"time lies more than {MAX_EVENT_LEAD_SECONDS} seconds in the future: set the sender's clock",
            field="time",
        )
    if time < now - max_age_days * _DAY:
        raise EventRefused(
            "TIME_TOO_OLD",
            f"time lies more than {max_age_days} days back: import it, or let the shop take older events",
            field="time",
        )
    return time


def _read_properties(message: event_pb2.Event) -> dict[str, Any]:
    if len(message.properties) > LIMITS["properties"]:
        raise EventRefused(
            "TOO_MANY_PROPERTIES",
            f"properties has {len(message.properties)} entries; at most {LIMITS['properties']} are allowed",
            field="properties",
        )
    for name in message.properties:
        if not _PROPERTY_NAME.fullmatch(name):
            raise InvalidInput(
                "properties must have names of 1 to 64 of a-z, 0-9 and _ that start with a letter",
                field="properties",
            )
    return dict(read_attributes(message.properties, field="properties"))

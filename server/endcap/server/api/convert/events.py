"""Events, and why one is rejected."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.events.events import Event
from endcap.catalog.fields.checks import EVENT_TYPE
from endcap.catalog.fields.limits import LIMITS, MAX_LEAD, MAX_QUANTITY, check_id, check_text
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.attributes import read_attributes
from endcap.server.api.convert.money import Money, read_money
from endcap.v1 import event_pb2, money_pb2, rejection_pb2
from endcap.v1.attribute_value_pb2 import AttributeValue


_ID_LENGTH = LIMITS["event_id"]  # of every identifier, and of the one that a rejection shows
_DAY = 86_400_000  # milliseconds
_NANOS = 1_000_000_000
_IDENTIFIERS = ("event_id", "user_id", "visitor_id", "item_id", "order_id", "reversed_event_id")
_TURN = 100  # events that are read before other calls get a turn: about a millisecond's work

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
        "reversed_event_id": "INVALID_REVERSED_EVENT",
        "unit_cost": "INVALID_UNIT_COST",
        "query": "INVALID_QUERY",
    }
)
"""The reason for which a field that holds something wrong rejects its event."""


class EventRejected(InvalidInput):
    """An event is rejected for a reason that its field alone does not tell."""

    def __init__(self, reason: str, message: str, *, field: str) -> None:
        super().__init__(message, field=field)
        self.rejection_reason = reason
        """As the contract names it."""


async def read_events(
    messages: Sequence[event_pb2.Event], now: int, settings: ShopSettings
) -> tuple[dict[int, Event], list[rejection_pb2.Rejection]]:
    """Return the events that are well formed, by their place, and why the others are not."""
    events: dict[int, Event] = {}
    rejections: list[rejection_pb2.Rejection] = []
    for place, message in enumerate(messages):
        if place % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        try:
            events[place] = read_event(message, now=now, settings=settings)
        except InvalidInput as error:
            rejections.append(write_rejection(place, message, error))
    return events, rejections


def read_event(message: event_pb2.Event, *, now: int, settings: ShopSettings) -> Event:
    """Read an event and check it; one without an id is given it.

    Args:
        message: As it came.
        now: Unix milliseconds; the time of an event that names none.
        settings: The settings of the shop.

    Raises:
        InvalidInput: A field is missing, too long, or holds what it must not.
    """
    event_id, event_type, item_id = message.event_id, message.type, message.item_id
    user_id, visitor_id, order_id = message.user_id, message.visitor_id, message.order_id
    quantity, token = message.quantity, message.attribution_token
    value = message.value if message.HasField("value") else None
    reversed_event_id, query = message.reversed_event_id, message.query
    if not item_id and settings.needs_item(event_type):
        raise EventRejected(
            "MISSING_ITEM",
            "item_id is required, except for types with the role of a search or session: name the item",
            field="item_id",
        )
    if not user_id and not visitor_id:
        raise EventRejected(
            "MISSING_USER", "user_id or visitor_id is required: say who did it", field="user_id"
        )
    identifiers = (event_id, user_id, visitor_id, item_id, order_id, reversed_event_id)
    # One look at all of them is enough for nearly every event, and one at each takes several times as long.
    together = "".join(identifiers)
    is_long = len(together) > _ID_LENGTH and max(map(len, identifiers)) > _ID_LENGTH
    if is_long or not together.isprintable():
        for field, identifier in zip(_IDENTIFIERS, identifiers, strict=True):
            if identifier:
                check_id(field, identifier)
    if event_type not in settings.event_types and not EVENT_TYPE.fullmatch(event_type):
        raise InvalidInput("type must be 1 to 64 of a-z, 0-9 and _", field="type")
    if token:
        check_text("attribution_token", token)
    if query:
        check_text("query", query)
    if not 0 <= quantity <= MAX_QUANTITY:  # as is no comparison with NaN
        raise InvalidInput(f"quantity must be from 0 to {MAX_QUANTITY}; 0 stands for 1", field="quantity")
    if value is not None and not isfinite(value):
        raise InvalidInput("value must be a finite number", field="value")
    time = None
    if message.HasField("time"):
        time = _read_time(message.time, now=now, max_age_days=settings.max_event_age_days)
    price = read_money(message.price, field="price") if message.HasField("price") else None
    unit_cost = _read_unit_cost(message.unit_cost, price) if message.HasField("unit_cost") else None
    properties = message.properties
    return Event(
        # Ids that grow touch the same few pages of an index, and are stored twice as fast as random ones.
        event_id=event_id or f"{now:012x}{secrets.token_hex(10)}",
        type=event_type,
        item_id=item_id,
        time=now if time is None else time,
        user_id=user_id or None,
        visitor_id=visitor_id or None,
        quantity=quantity or 1.0,
        price_nanos=price.nanos if price else None,
        currency=price.currency if price else unit_cost.currency if unit_cost else "",
        value=value,
        attribution_token=token,
        order_id=order_id,
        query=query,
        reversed_event_id=reversed_event_id,
        unit_cost_nanos=unit_cost.nanos if unit_cost else None,
        properties=_read_properties(properties) if properties else {},
        time_is_given=time is not None,
    )


def write_rejection(index: int, message: event_pb2.Event, error: InvalidInput) -> rejection_pb2.Rejection:
    """Write why an event was not stored.

    Args:
        index: Its place in the request.
        message: The event as it came.
        error: What is wrong with it.
    """
    if isinstance(error, EventRejected):
        reason = error.rejection_reason
    else:
        reason = _REASONS[error.field.partition(".")[0]]
    return rejection_pb2.Rejection(
        index=index, id=message.event_id[:_ID_LENGTH], reason=reason, field=error.field, message=str(error)
    )


def _read_unit_cost(message: money_pb2.Money, price: Money | None) -> Money:
    """Read the cost of one piece, which is in the currency of the price if there is one."""
    cost = read_money(message, field="unit_cost")
    if price is not None and cost.currency not in {"", price.currency}:
        raise InvalidInput("unit_cost must have the currency_code of price, or none", field="unit_cost")
    return cost


def _read_time(message: Timestamp, *, now: int, max_age_days: int) -> int:
    seconds, nanos = message.seconds, message.nanos
    if seconds < 0 or not 0 <= nanos < _NANOS:
        raise InvalidInput("time must not lie before 1970, and its nanos from 0 to 999,999,999", field="time")
    time = seconds * 1000 + nanos // 1_000_000
    if time > now + MAX_LEAD:
        raise EventRejected(
            "TIME_IN_FUTURE",
            f"time lies more than {MAX_LEAD // 1000} seconds in the future: set the sender's clock",
            field="time",
        )
    if time < now - max_age_days * _DAY:
        raise EventRejected(
            "TIME_TOO_OLD",
            f"time lies more than {max_age_days} days back: import it, or let the shop take older events",
            field="time",
        )
    return time


def _read_properties(messages: Mapping[str, AttributeValue]) -> dict[str, Any]:
    if len(messages) > LIMITS["properties"]:
        raise EventRejected(
            "TOO_MANY_PROPERTIES",
            f"properties has {len(messages)} entries; at most {LIMITS['properties']} are allowed",
            field="properties",
        )
    return dict(read_attributes(messages, field="properties"))

"""Events."""

import math

from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.events import Event
from endcap.sdk.errors import InvalidInput
from endcap.server.convert.attributes import read_attributes
from endcap.server.convert.money import read_money
from endcap.server.limits import MAX_EVENT_LEAD_SECONDS, check_id, check_limit
from endcap.v1 import event_pb2


def read_event(message: event_pb2.Event, *, now: int) -> Event:
    """Read an event and check it.

    Args:
        message: As it came.
        now: Unix milliseconds; the time of an event that names none.

    Raises:
        InvalidInput: A field is missing, too long, or no number.
    """
    for field in ("event_id", "type", "item_id"):
        check_id(field, getattr(message, field))
    for field in ("user_id", "visitor_id", "order_id", "attribution_token"):
        check_limit(field, getattr(message, field))
    if not message.user_id and not message.visitor_id:
        raise InvalidInput("an event needs a user_id or a visitor_id", field="visitor_id")
    if not math.isfinite(message.quantity) or message.quantity < 0:
        raise InvalidInput("quantity must be a number, 0 or more", field="quantity")
    if not math.isfinite(message.value):
        raise InvalidInput("value must be a number", field="value")
    properties = read_attributes(message.properties, field="properties")
    time = _milliseconds(message.time) if message.HasField("time") else now
    if time < 0:
        raise InvalidInput("time must not lie before 1970", field="time")
    if time > now + MAX_EVENT_LEAD_SECONDS * 1000:
        raise InvalidInput(
            f"time lies more than {MAX_EVENT_LEAD_SECONDS} seconds in the future", field="time"
        )
    price = read_money(message.price, field="price") if message.HasField("price") else None
    return Event(
        event_id=message.event_id,
        type=message.type,
        item_id=message.item_id,
        time=time,
        user_id=message.user_id or None,
        visitor_id=message.visitor_id or None,
        quantity=message.quantity or 1.0,
        price_nanos=price.nanos if price else None,
        currency=price.currency if price else "",
        value=message.value if message.HasField("value") else None,
        attribution_token=message.attribution_token,
        order_id=message.order_id,
        properties=properties,
        time_is_given=message.HasField("time"),
    )


def _milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000

"""Typed values: of an event's properties, and of what items and users are described by."""

import math
from collections.abc import Mapping

from endcap.sdk.errors import InvalidInput
from endcap.server.convert.fields import Fields
from endcap.server.limits import check_id, check_limit
from endcap.v1 import attribute_value_pb2


def read_attributes(
    messages: Mapping[str, attribute_value_pb2.AttributeValue], *, field: str
) -> dict[str, str | float | bool | list[str]]:
    """Read values by name; a moment becomes Unix milliseconds.

    Args:
        messages: As they came.
        field: The map's name in the table of limits, and its path in the request.

    Raises:
        InvalidInput: There are too many, or a value is missing, too long or no number.
    """
    check_limit(field, messages)
    for name in messages:
        check_id(f"{field} key", name)
    return {name: _read(message, field=field, path=f"{field}.{name}") for name, message in messages.items()}


def _read(
    message: attribute_value_pb2.AttributeValue, *, field: str, path: str
) -> str | float | bool | list[str]:
    match message.WhichOneof("value"):
        case "text":
            check_limit(f"{field} value", message.text, path=path)
            return message.text
        case "number" if math.isfinite(message.number):
            return message.number
        case "number":
            raise InvalidInput(f"{path} must be a finite number", field=path)
        case "boolean":
            return message.boolean
        case "time":
            return Fields(message, path).time("time") or 0
        case "texts":
            check_limit(f"{field} values", message.texts.values, path=path)
            for text in message.texts.values:
                check_limit(f"{field} value", text, path=path)
            return list(message.texts.values)
        case _:
            raise InvalidInput(f"{path} has no value: set one, or leave the name out", field=path)

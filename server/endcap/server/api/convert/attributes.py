"""Typed values: of an event's properties, and of what items and users are described by."""

from collections.abc import Collection, Mapping

from endcap.catalog.fields.attributes import AttributeValue, Moment
from endcap.catalog.fields.checks import check_attribute_name, check_attributes
from endcap.catalog.fields.limits import check_limit
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.fields import Fields
from endcap.v1 import attribute_value_pb2


def read_attributes(
    messages: Mapping[str, attribute_value_pb2.AttributeValue], *, field: str
) -> dict[str, AttributeValue]:
    """Read values by name.

    Args:
        messages: The values as sent.
        field: The map's name in the table of limits, and its path in the request.

    Raises:
        InvalidInput: Values are too many, a name is invalid, or a value is missing, too long or not finite.
    """
    check_limit(field, messages)  # before any is read
    values = {name: _read(message, path=f"{field}.{name}") for name, message in messages.items()}
    check_attributes(values, field=field)
    return values


def read_named_attributes(fields: Fields, names: Collection[str] | None = None) -> dict[str, AttributeValue]:
    """Read the attributes of an item or a user.

    Args:
        fields: The item or user.
        names: The only ones to read; None for all.

    Raises:
        InvalidInput: There are too many, or a name or a value is invalid.
    """
    messages = fields.message.attributes  # type: ignore[attr-defined]
    for name in messages.keys() | set(names or ()):
        check_attribute_name(name, field=fields.path_of("attributes"))
    chosen = messages if names is None else {name: messages[name] for name in names if name in messages}
    return read_attributes(chosen, field="attributes")


def write_attribute(value: AttributeValue) -> attribute_value_pb2.AttributeValue:
    """Write one value."""
    message = attribute_value_pb2.AttributeValue()
    match value:
        case str():
            message.text = value
        case bool():
            message.boolean = value
        case Moment():
            message.time.FromMilliseconds(value)
        case int() | float():
            message.number = value
        case _:
            message.texts.values.extend(value)
            message.texts.SetInParent()  # an empty list is a value too
    return message


def _read(message: attribute_value_pb2.AttributeValue, *, path: str) -> AttributeValue:
    match message.WhichOneof("value"):
        case "text":
            return message.text
        case "number":
            return message.number
        case "boolean":
            return message.boolean
        case "time":
            return Moment(Fields(message, path).time("time") or 0)
        case "texts":
            return list(message.texts.values)
        case _:
            raise InvalidInput(f"{path} has no value: set one, or leave the name out", field=path)

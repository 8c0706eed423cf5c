"""Parameters of strategies and trainers: a frozen dataclass is both the schema and the value."""

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_type_hints

from endcap.sdk.errors import InvalidInput


Value = TypeVar("Value", bool, int, float, str)
Schema = TypeVar("Schema")

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def parameter(
    default: Value,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Value:
    """Declare one field of a parameters dataclass.

    Args:
        default: The value when none is given; its type is the field's.
        description: What it does, with its unit.
        minimum: The smallest value allowed.
        maximum: The largest value allowed.
        choices: The strings allowed; empty for any.
    """
    metadata = {"description": description, "minimum": minimum, "maximum": maximum, "choices": choices}
    field: Value = dataclasses.field(default=default, metadata=metadata)
    return field


@dataclasses.dataclass(frozen=True)
class NoParameters:
    """The schema of a strategy without parameters."""


def read_parameters(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Check values against a schema.

    Args:
        schema: A frozen dataclass whose fields are made by ``parameter``.
        values: Values by field name, as JSON gives them; whole floats pass for integers.

    Raises:
        InvalidInput: A name is unknown, or a value has the wrong type or is out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(cast("Any", schema))}
    types = get_type_hints(schema)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise InvalidInput(
            f"unknown parameter {unknown[0]!r}; use one of {', '.join(sorted(fields)) or 'none'}",
            field=unknown[0],
        )
    return schema(**{name: _checked(fields[name], types[name], value) for name, value in values.items()})


def json_schema(schema: type[Any]) -> dict[str, Any]:
    """Describe a parameters dataclass as JSON Schema."""
    types = get_type_hints(schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            field.name: {
                "type": _JSON_TYPES[types[field.name]],
                "default": field.default,
                "description": field.metadata["description"],
                **{
                    key: field.metadata[key]
                    for key in ("minimum", "maximum")
                    if field.metadata[key] is not None
                },
                **({"enum": list(field.metadata["choices"])} if field.metadata["choices"] else {}),
            }
            for field in dataclasses.fields(schema)
        },
    }


def _checked(field: dataclasses.Field[Any], wanted: type[Any], value: Any) -> Any:
    if wanted is float and type(value) is int and abs(value) <= sys.float_info.max:
        value = float(value)
    if wanted is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
        raise InvalidInput(
            f"parameter {field.name!r} must be of type {_JSON_TYPES[wanted]}", field=field.name
        )
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is not None and value < minimum:
        raise InvalidInput(f"parameter {field.name!r} must be at least {minimum:g}", field=field.name)
    if maximum is not None and value > maximum:
        raise InvalidInput(f"parameter {field.name!r} must be at most {maximum:g}", field=field.name)
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise InvalidInput(f"parameter {field.name!r} must be one of {', '.join(choices)}", field=field.name)
    return value

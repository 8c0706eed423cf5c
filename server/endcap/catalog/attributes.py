"""Attributes of items and users: values by name, as a caller gives them and as a table keeps them.

A text, a number, a yes or no and several texts are kept as JSON has them, a moment as
``{"time": <Unix milliseconds>}``, so that it is told from a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias


class Moment(int):
    """A moment among attributes: Unix milliseconds, which is what filters and models take it for."""


AttributeValue: TypeAlias = str | bool | float | Moment | Sequence[str]
"""What one attribute holds."""


def store_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Return attributes as JSON values."""
    return {
        name: {"time": int(value)} if isinstance(value, Moment) else value
        for name, value in attributes.items()
    }


def load_attributes(stored: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return the attributes that ``store_attributes`` made JSON of."""
    return {
        name: Moment(value["time"]) if isinstance(value, dict) else value for name, value in stored.items()
    }

"""Attributes of items and users: values by name, as a caller gives them and as a table stores them.

Texts, numbers, booleans and lists of texts are stored as plain JSON. A moment is stored as
``{"time": <Unix milliseconds>}`` to distinguish it from a number.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias


class Moment(int):
    """A moment as the value of an attribute, in Unix milliseconds; filters and models read it as a number."""


AttributeValue: TypeAlias = str | bool | float | Moment | Sequence[str]
"""The value of one attribute."""

EARLIEST, LATEST = -62_135_596_800_000, 253_402_300_799_999
"""The earliest and the latest moment, in Unix milliseconds: the start of year 1 and the end of year 9999."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def store_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Return attributes as JSON values."""
    return {
        name: {"time": int(value)} if isinstance(value, Moment) else value
        for name, value in attributes.items()
    }


def load_attributes(stored: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return the attributes that ``store_attributes`` encoded as JSON; skip all other values.

    Another program may have written to the database, and one odd value must not stop a whole shop.
    """
    values = ((name, load_attribute(value)) for name, value in stored.items() if is_attribute_name(name))
    return {name: value for name, value in values if value is not None}


def load_attribute(stored: Any) -> AttributeValue | None:
    """Decode the JSON value of an attribute; None if the JSON value is not an attribute."""
    match stored:
        case str() | bool():
            return stored
        case int() | float():
            return _number(stored)
        case list() if all(isinstance(text, str) for text in stored):
            return stored
        case {"time": int(time), **others} if not others and not isinstance(time, bool):
            return Moment(time) if EARLIEST <= time <= LATEST else None
        case _:
            return None


@lru_cache(maxsize=4_096)  # a catalog has few names, and each occurs many times
def is_attribute_name(name: str) -> bool:
    """Return whether a text is a valid name of an attribute."""
    return _NAME.fullmatch(name) is not None


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if isfinite(number) else None

"""Attributes of items and users: values by name, as a caller gives them and as a table keeps them.

A text, a number, a yes or no and several texts are kept as JSON has them, a moment as
``{"time": <Unix milliseconds>}``, so that it is told from a number.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias


class Moment(int):
    """A moment among attributes: Unix milliseconds, which is what filters and models take it for."""


AttributeValue: TypeAlias = str | bool | float | Moment | Sequence[str]
"""The value of one attribute."""

EARLIEST, LATEST = -62_135_596_800_000, 253_402_300_799_999
"""Unix milliseconds from the year 1 to the end of 9999, which is what a moment can be."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def store_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Return attributes as JSON values."""
    return {
        name: {"time": int(value)} if isinstance(value, Moment) else value
        for name, value in attributes.items()
    }


def load_attributes(stored: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return the attributes that ``store_attributes`` made JSON of; what it cannot have made is left out.

    A database may hold what somebody else has written, and one odd value must not stop a whole shop.
    """
    values = ((name, load_attribute(value)) for name, value in stored.items() if is_attribute_name(name))
    return {name: value for name, value in values if value is not None}


def load_attribute(stored: Any) -> AttributeValue | None:
    """Return the attribute that a JSON value stands for, None where it stands for none."""
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


@lru_cache(maxsize=4_096)  # a catalog has few names, each of them many times
def is_attribute_name(name: str) -> bool:
    """Say whether a text can be the name of an attribute."""
    return _NAME.fullmatch(name) is not None


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if isfinite(number) else None

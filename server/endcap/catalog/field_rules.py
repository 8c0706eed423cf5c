"""What the fields of items, users and events may hold, whether a request brings them or a file.

One table of limits, and one check of each rule. A check names the field that breaks it.
"""

import re
from collections.abc import Mapping, Sequence, Sized
from math import isfinite
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from endcap.catalog.attributes import EARLIEST, LATEST, AttributeValue, Moment, is_attribute_name
from endcap.sdk.errors import InvalidInput


LIMITS = MappingProxyType(
    {
        # Characters of a text, by field.
        "user_id": 128,
        "visitor_id": 128,
        "item_id": 128,
        "event_id": 128,
        "order_id": 128,
        "group_id": 128,
        "type": 64,
        "attribution_token": 2048,
        "language_code": 35,
        "title": 1024,
        "description": 16384,
        "brand": 128,
        # Entries of a list or a map, by field.
        "properties": 64,
        "properties values": 64,
        "attributes": 128,
        "attributes values": 64,
        "localized_texts": 32,
        "categories": 64,
        "tags": 64,
        "image_uris": 16,
        # Characters of the entries of a list, and of the values of a map.
        "categories value": 128,
        "tags value": 128,
        "image_uris value": 2048,
        "attributes value": 1024,
        "properties value": 1024,
    }
)
"""The most characters or entries of each field."""

EVENT_TYPE = re.compile(r"[a-z0-9_]{1,64}")
"""What the name of an event type looks like."""

CURRENCY = re.compile(r"[A-Z]{3}")
"""What an ISO 4217 code looks like."""

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
"""What a BCP 47 tag looks like."""

MAX_QUANTITY = 1_000_000
"""The largest quantity of an event; 0 stands for 1."""

MAX_LEAD = 300_000
"""Milliseconds that what has happened may lie in the future, for clocks differ."""

_SCHEMES = frozenset({"https", "http", "s3"})
_TEXTS_OF_A_LANGUAGE = ("title", "description")


class LimitExceeded(InvalidInput):
    """A text or a list is longer than its limit."""


def check_length(value: Sized, limit: int, *, path: str) -> None:
    """Refuse a text or a list that is longer than its limit.

    Args:
        value: The text or the list.
        limit: The most characters or entries.
        path: Names the field at fault.

    Raises:
        LimitExceeded: It is too long.
    """
    if len(value) > limit:
        unit = "characters" if isinstance(value, str) else "entries"
        raise LimitExceeded(f"{path} has {len(value)} {unit}; at most {limit} are allowed", field=path)


def check_id(value: str, limit: int, *, path: str) -> None:
    """Refuse an id that is empty, too long, or holds control characters.

    Raises:
        InvalidInput: It does.
    """
    if not value:
        raise InvalidInput(f"{path} is required", field=path)
    check_length(value, limit, path=path)
    if not value.isprintable():
        raise InvalidInput(f"{path} must not hold control characters", field=path)


def check_text(value: str, limit: int, *, path: str) -> None:
    """Refuse a text that is too long or that PostgreSQL cannot store; it may be empty and have many lines.

    Raises:
        InvalidInput: It is.
    """
    check_length(value, limit, path=path)
    if "\0" in value:
        raise InvalidInput(f"{path} must not hold the character NUL", field=path)


def check_language(code: str, *, path: str) -> None:
    """Refuse what is no BCP 47 tag; it may be empty.

    Raises:
        InvalidInput: It is none.
    """
    check_length(code, LIMITS["language_code"], path=path)
    if code and not LANGUAGE.fullmatch(code):
        raise InvalidInput(f"{path} must be a BCP 47 tag, such as en-GB", field=path)


def check_currency(code: str, *, path: str = "currency") -> None:
    """Refuse what is no ISO 4217 code; it may be empty.

    Raises:
        InvalidInput: It is none.
    """
    if code and not CURRENCY.fullmatch(code):
        raise InvalidInput(f"{path} must be an ISO 4217 code, such as EUR", field=path)


def check_image_uris(addresses: Sequence[str]) -> None:
    """Refuse the address of an image that no shop front should open.

    Raises:
        InvalidInput: One is no address of the web or of an object store.
    """
    for index, address in enumerate(addresses):
        if not _is_address(address):
            path = f"image_uris[{index}]"
            raise InvalidInput(f"{path} must be an https, http or s3 address", field=path)


def check_availability_times(available_time: int | None, expire_time: int | None) -> None:
    """Refuse an item that expires before it is available.

    Args:
        available_time: Unix milliseconds, as is the next one; None for no bound.
        expire_time: Must be later.

    Raises:
        InvalidInput: It is not.
    """
    if available_time is not None and expire_time is not None and available_time >= expire_time:
        raise InvalidInput("expire_time must be later than available_time", field="expire_time")


def check_attributes(attributes: Mapping[str, AttributeValue], *, field: str) -> None:
    """Refuse values by name of which one is none.

    Args:
        attributes: The values.
        field: ``attributes`` or ``properties``.

    Raises:
        InvalidInput: There are too many, a name is none, or a value is too long or out of range.
    """
    check_length(attributes, LIMITS[field], path=field)
    for name, value in attributes.items():
        check_attribute_name(name, field=field)
        path = f"{field}.{name}"
        match value:
            case str():
                check_text(value, LIMITS[f"{field} value"], path=path)
            case Moment():
                if not EARLIEST <= value <= LATEST:
                    raise InvalidInput(f"{path}.time must lie between the years 1 and 9999", field=path)
            case int() | float():
                if not isfinite(value):
                    raise InvalidInput(f"{path} must be a finite number", field=path)
            case _:
                check_length(value, LIMITS[f"{field} values"], path=path)
                for text in value:
                    check_text(text, LIMITS[f"{field} value"], path=path)


def check_attribute_name(name: str, *, field: str) -> None:
    """Refuse what is no name of an attribute.

    Raises:
        InvalidInput: It is none.
    """
    if not is_attribute_name(name):
        raise InvalidInput(
            f"{field} must have names of 1 to 64 of a-z, 0-9 and _ that start with a letter", field=field
        )


def check_localized_texts(texts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse texts by language of which one is none.

    Args:
        texts: ``title`` and ``description`` by language.

    Raises:
        InvalidInput: There are too many, a language is none, or a text has another name or is too long.
    """
    field = "localized_texts"
    check_length(texts, LIMITS[field], path=field)
    for language, of_language in texts.items():
        if not language:
            raise InvalidInput(f"{field} needs a language for each text", field=field)
        check_language(language, path=field)
        for name, text in of_language.items():
            path = f"{field}.{language}.{name}"
            if name not in _TEXTS_OF_A_LANGUAGE:
                raise InvalidInput(f"{field} has {' and '.join(_TEXTS_OF_A_LANGUAGE)}", field=field)
            check_text(text, LIMITS[name], path=path)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.netloc) and text.isprintable() and " " not in text

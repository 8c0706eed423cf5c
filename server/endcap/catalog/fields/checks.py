"""Checks of the fields of items, users and events, for requests and files alike.

Each rule has one check, and its error names the field that breaks the rule. Lengths come from
``fields.limits``.
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from endcap.catalog.fields.attributes import EARLIEST, LATEST, AttributeValue, Moment, is_attribute_name
from endcap.catalog.fields.limits import check_limit, check_text
from endcap.sdk.errors import InvalidInput


EVENT_TYPE = re.compile(r"[a-z0-9_]{1,64}")
"""The pattern of an event type's name."""

CURRENCY = re.compile(r"[A-Z]{3}")
"""The pattern of an ISO 4217 code."""

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
"""The pattern of a BCP 47 tag."""

_SCHEMES = frozenset({"https", "http", "s3"})
_TEXTS_OF_A_LANGUAGE = ("title", "description")


def check_language(code: str, *, path: str) -> None:
    """Reject a language that is not a BCP 47 tag; it may be empty.

    Raises:
        InvalidInput: The language is too long or not a BCP 47 tag.
    """
    check_limit("language_code", code, path=path)
    if code and not LANGUAGE.fullmatch(code):
        raise InvalidInput(f"{path} must be a BCP 47 tag, such as en-GB", field=path)


def check_currency(code: str, *, path: str = "currency") -> None:
    """Reject a currency that is not an ISO 4217 code; it may be empty.

    Raises:
        InvalidInput: The currency is not an ISO 4217 code.
    """
    if code and not CURRENCY.fullmatch(code):
        raise InvalidInput(f"{path} must be an ISO 4217 code, such as EUR", field=path)


def check_image_uris(addresses: Sequence[str]) -> None:
    """Reject image addresses that a shop front should not open.

    Raises:
        InvalidInput: An address is not an https, http or s3 address.
    """
    for index, address in enumerate(addresses):
        if not _is_address(address):
            path = f"image_uris[{index}]"
            raise InvalidInput(f"{path} must be an https, http or s3 address", field=path)


def check_attributes(attributes: Mapping[str, AttributeValue], *, field: str) -> None:
    """Reject attributes with an invalid name or value.

    Args:
        attributes: The values by name.
        field: The field to name in the error: ``attributes`` or ``properties``.

    Raises:
        InvalidInput: The attributes are too many, a name is invalid, or a value is too long or out of range.
    """
    check_limit(field, attributes)
    for name, value in attributes.items():
        check_attribute_name(name, field=field)
        path = f"{field}.{name}"
        match value:
            case str():
                check_text(f"{field} value", value, path=path)
            case Moment():
                if not EARLIEST <= value <= LATEST:
                    raise InvalidInput(f"{path}.time must lie between the years 1 and 9999", field=path)
            case int() | float():
                if not isfinite(value):
                    raise InvalidInput(f"{path} must be a finite number", field=path)
            case _:
                check_limit(f"{field} values", value, path=path)
                for text in value:
                    check_text(f"{field} value", text, path=path)


def check_attribute_name(name: str, *, field: str) -> None:
    """Reject an invalid name of an attribute.

    Raises:
        InvalidInput: The name is not 1 to 64 of a-z, 0-9 and _, or does not start with a letter.
    """
    if not is_attribute_name(name):
        raise InvalidInput(
            f"{field} must have names of 1 to 64 of a-z, 0-9 and _ that start with a letter", field=field
        )


def check_localized_texts(texts: Mapping[str, Mapping[str, Any]]) -> None:
    """Reject localized texts with an invalid language, name or text.

    Args:
        texts: ``title`` and ``description`` by language.

    Raises:
        InvalidInput: The languages are too many, a language is not a BCP 47 tag, or a text has another name
            or is too long.
    """
    field = "localized_texts"
    check_limit(field, texts)
    for language, of_language in texts.items():
        if not language:
            raise InvalidInput(f"{field} needs a language for each text", field=field)
        check_language(language, path=field)
        for name, text in of_language.items():
            path = f"{field}.{language}.{name}"
            if name not in _TEXTS_OF_A_LANGUAGE:
                raise InvalidInput(f"{field} has {' and '.join(_TEXTS_OF_A_LANGUAGE)}", field=field)
            check_text(name, text, path=path)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.netloc) and text.isprintable() and " " not in text

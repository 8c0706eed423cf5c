"""The one table of limits, for requests, files and commands alike, and the checks that apply it."""

from collections.abc import Sized
from types import MappingProxyType

from endcap.sdk.errors import InvalidInput


LIMITS = MappingProxyType(
    {
        # Characters of a text, by field.
        "shop": 64,
        "placement": 128,
        "request_id": 128,
        "query": 256,
        "filter": 4096,
        "etag": 128,
        "model": 64,
        "version": 64,
        "path": 512,
        "display_name": 128,
        "strategy": 64,
        "rule": 64,
        "attribute": 128,
        "page_token": 8192,
        "user_id": 128,
        "visitor_id": 128,
        "item_id": 128,
        "event_id": 128,
        "order_id": 128,
        "reversed_event_id": 128,
        "group_id": 128,
        "type": 64,
        "attribution_token": 2048,
        "language_code": 35,
        "title": 1024,
        "description": 16384,
        "brand": 128,
        # Entries of a list or a map, by field.
        "item_ids": 100,
        "candidate_item_ids": 1000,
        "exclude_item_ids": 1000,
        "context": 32,
        "events": 1000,
        "requests": 1000,
        "get_item_ids": 1000,
        "get_user_ids": 1000,
        "items": 1000,
        "users": 1000,
        "update_mask": 256,
        "ladder": 8,
        "rules": 64,
        "event_types": 16,
        "properties": 64,
        "properties values": 64,
        "attributes": 128,
        "attributes values": 64,
        "localized_texts": 32,
        "categories": 64,
        "tags": 64,
        "image_uris": 16,
        # Characters of the entries of a list, and of the keys and values of a map.
        "categories value": 128,
        "tags value": 128,
        "image_uris value": 2048,
        "attributes value": 1024,
        "properties value": 1024,
        "context key": 64,
        "context value": 256,
    }
)
"""The largest number of characters or entries, by field."""

MAX_QUANTITY = 1_000_000
"""The largest quantity of an event; 0 stands for 1."""

MAX_LEAD = 300_000
"""Milliseconds that a past moment may lie in the future, because clocks differ."""

MAX_REJECTIONS = 1_000
"""Rejections that the answer to an import lists; the answer counts all of them."""

MAX_PAGE_SIZE = 100
"""Entries of a page, and positions of an answer that a rule may refer to."""

MAX_PARAMETERS_BYTES = 16 * 1024
"""The largest encoded parameters of a strategy."""

MAX_PARAMETERS_DEPTH = 8
"""Levels of nesting that parameters of a strategy may have."""

MAX_RUNG_TIMEOUT = 10_000
"""Milliseconds that a rung of a ladder may be given."""

MAX_FATIGUE_EXPOSURES = 1_000
"""The largest number of exposures before a rule of fatigue takes effect."""

MAX_FATIGUE_WINDOW = 90 * 86_400_000
"""Milliseconds that a rule of fatigue may look back."""


class LimitExceeded(InvalidInput):
    """A text or a list is longer than its limit."""


def check_limit(field: str, value: Sized, *, path: str = "") -> None:
    """Reject a text or a list that is longer than its limit.

    Args:
        field: The name of the field in the table.
        value: The text or the list.
        path: The path of the field in the request, if it differs from ``field``.

    Raises:
        LimitExceeded: The text or the list is too long.
    """
    if len(value) > LIMITS[field]:
        unit = "characters" if isinstance(value, str) else "entries"
        path = path or field
        raise LimitExceeded(
            f"{path} has {len(value)} {unit}; at most {LIMITS[field]} are allowed", field=path
        )


def check_id(field: str, value: str, *, path: str = "") -> None:
    """Reject an id that is empty, too long, or holds control characters.

    Args:
        field: The name of the field in the table.
        value: The id.
        path: The path of the field in the request, if it differs from ``field``.

    Raises:
        InvalidInput: The id is empty, too long, or holds control characters.
    """
    path = path or field
    if not value:
        raise InvalidInput(f"{path} is required", field=path)
    check_limit(field, value, path=path)
    if not value.isprintable():
        raise InvalidInput(f"{path} must not hold control characters", field=path)


def check_text(field: str, value: str, *, path: str = "") -> None:
    """Reject a text that is too long or that PostgreSQL cannot store; it may be empty and have many lines.

    Args:
        field: The name of the field in the table.
        value: The text.
        path: The path of the field in the request, if it differs from ``field``.

    Raises:
        InvalidInput: The text is too long or holds the character NUL.
    """
    check_limit(field, value, path=path)
    if "\0" in value:
        path = path or field
        raise InvalidInput(f"{path} must not hold the character NUL", field=path)

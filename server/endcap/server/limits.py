"""The one table of limits on requests, and the check that names the field that breaks one."""

from collections.abc import Sized
from types import MappingProxyType

from endcap.sdk.errors import InvalidInput


LIMITS = MappingProxyType(
    {
        # Characters of a text, by field.
        "shop": 64,
        "placement": 128,
        "user_id": 128,
        "visitor_id": 128,
        "item_id": 128,
        "event_id": 128,
        "request_id": 128,
        "type": 64,
        "query": 256,
        "filter": 4096,
        "language_code": 35,
        "etag": 128,
        "model": 64,
        "version": 64,
        "path": 512,
        "display_name": 128,
        "strategy": 64,
        "rule": 64,
        "attribute": 128,
        "order_id": 128,
        "attribution_token": 2048,
        "title": 1024,
        "description": 16384,
        "brand": 128,
        "group_id": 128,
        "page_token": 8192,
        # Entries of a list, by field.
        "item_ids": 100,
        "candidate_item_ids": 1000,
        "exclude_item_ids": 1000,
        "context": 32,
        "properties": 64,
        "properties values": 64,
        "events": 1000,
        "requests": 1000,
        "get_item_ids": 1000,
        "get_user_ids": 1000,
        "items": 1000,
        "users": 1000,
        "update_mask": 256,
        "localized_texts": 32,
        "categories": 64,
        "tags": 64,
        "image_uris": 16,
        "attributes": 128,
        "attributes values": 64,
        "ladder": 8,
        "rules": 64,
        "event_types": 16,
        # Characters of the entries of a list, and of the keys and values of a map.
        "categories value": 128,
        "tags value": 128,
        "image_uris value": 2048,
        "attributes value": 1024,
        "context key": 64,
        "context value": 256,
        "properties value": 1024,
    }
)
"""The most characters or entries of each field."""

MAX_REJECTIONS = 1_000
"""Rejections that the answer to an import lists; it counts them all."""

MAX_PAGE_SIZE = 100

MAX_REQUEST_BYTES = 1024 * 1024
"""The largest message of most methods."""

MAX_INGEST_BYTES = 4 * 1024 * 1024
"""The largest message of the methods that take data in."""

_INGEST = ("RecordEvents", "BatchUpsertItems", "BatchUpsertUsers", "ImportItems", "ImportUsers")

MAX_METADATA_BYTES = 8192
"""The most metadata a call may carry."""

MAX_PARAMETERS_BYTES = 16 * 1024
"""The largest encoded parameters of a strategy."""

MAX_PARAMETERS_DEPTH = 8
"""Levels of nesting that parameters of a strategy may have."""

MAX_EVENT_LEAD_SECONDS = 300
"""How far in the future an event's time may lie, for clocks differ."""


class LimitExceeded(InvalidInput):
    """A text or a list is longer than its limit."""


def takes_data_in(method: str) -> bool:
    """Say whether a method takes data in, which may come in floods.

    Args:
        method: The full name, ``/package.Service/Method``.
    """
    return method.endswith(_INGEST)


def max_request_bytes(method: str) -> int:
    """Return the largest message that a method takes.

    Args:
        method: The full name, ``/package.Service/Method``.
    """
    return MAX_INGEST_BYTES if takes_data_in(method) else MAX_REQUEST_BYTES


def check_limit(field: str, value: Sized, *, path: str = "") -> None:
    """Refuse a text or a list that is longer than its limit.

    Args:
        field: Its name in the table.
        value: The text or the list.
        path: Where it is in the request, when its name does not say so.

    Raises:
        LimitExceeded: It is too long.
    """
    if len(value) > LIMITS[field]:
        path = path or field
        unit = "characters" if isinstance(value, str) else "entries"
        raise LimitExceeded(
            f"{path} has {len(value)} {unit}; at most {LIMITS[field]} are allowed", field=path
        )


def check_id(field: str, value: str, *, path: str = "") -> None:
    """Refuse an id that is empty, too long, or holds control characters.

    Args:
        field: Its name in the table.
        value: The id.
        path: Where it is in the request, when its name does not say so.

    Raises:
        InvalidInput: It does.
    """
    path = path or field
    if not value:
        raise InvalidInput(f"{path} is required", field=path)
    check_limit(field, value, path=path)
    if not value.isprintable():
        raise InvalidInput(f"{path} must not hold control characters", field=path)


def check_text(field: str, value: str, *, path: str = "") -> None:
    """Refuse a text that is too long or that PostgreSQL cannot store; it may be empty and have many lines.

    Args:
        field: Its name in the table.
        value: The text.
        path: Where it is in the request, when its name does not say so.

    Raises:
        InvalidInput: It is.
    """
    check_limit(field, value, path=path)
    if "\0" in value:
        raise InvalidInput(f"{path or field} must not hold the character NUL", field=path or field)

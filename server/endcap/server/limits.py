"""The one table of limits on requests, and the check that names the field that breaks one."""

from collections.abc import Sized
from types import MappingProxyType

from endcap.catalog import field_rules


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
        # Entries of a list, by field.
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
        # Characters of the keys and values of a map.
        "context key": 64,
        "context value": 256,
    }
    | field_rules.LIMITS
)
"""The most characters or entries of each field; those of items, users and events hold for imports too."""

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
    field_rules.check_length(value, LIMITS[field], path=path or field)


def check_id(field: str, value: str, *, path: str = "") -> None:
    """Refuse an id that is empty, too long, or holds control characters.

    Args:
        field: Its name in the table.
        value: The id.
        path: Where it is in the request, when its name does not say so.

    Raises:
        InvalidInput: It does.
    """
    field_rules.check_id(value, LIMITS[field], path=path or field)


def check_text(field: str, value: str, *, path: str = "") -> None:
    """Refuse a text that is too long or that PostgreSQL cannot store; it may be empty and have many lines.

    Args:
        field: Its name in the table.
        value: The text.
        path: Where it is in the request, when its name does not say so.

    Raises:
        InvalidInput: It is.
    """
    field_rules.check_text(value, LIMITS[field], path=path or field)

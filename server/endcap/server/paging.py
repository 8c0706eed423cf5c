"""Pages of a list: how long they are, and the token that says where the next one starts.

A token is bound to the request that it goes on with, so that no page mixes two lists.
"""

import hashlib
from collections.abc import Collection
from typing import Any

from google.protobuf.message import Message

from endcap.sdk.errors import InvalidInput
from endcap.server import tokens
from endcap.server.limits import MAX_PAGE_SIZE, check_limit


DEFAULT_PAGE_SIZE = 10
"""Entries of a page where the request names no number."""

_LIFETIME = 86_400_000  # milliseconds
_PURPOSE = "page_token"
_DIGEST_BYTES = 16


def read_page_size(page_size: int) -> int:
    """Return how many entries a page holds: 10 for 0, and never more than 100.

    Raises:
        InvalidInput: The number asked for is negative.
    """
    if page_size < 0:
        raise InvalidInput("page_size must not be negative; use 0 for the default", field="page_size")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def request_digest(message: Message, ignored: Collection[str]) -> str:
    """Return what two requests for pages of one list have in common, and no other request.

    Args:
        message: The request.
        ignored: Names of the fields that may differ from page to page, the token's among them.
    """
    kept = type(message)()
    kept.CopyFrom(message)
    for field in ignored:
        kept.ClearField(field)
    content = kept.DESCRIPTOR.full_name.encode() + b"\x1f" + kept.SerializeToString(deterministic=True)
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def page_token(key: bytes, digest: str, cursor: dict[str, Any], now: int) -> str:
    """Make the token of the next page.

    Args:
        key: The shop's token key.
        digest: The ``request_digest`` of the request that it goes on with.
        cursor: Where the page starts, as JSON values.
        now: Unix milliseconds.
    """
    return tokens.sign(key, _PURPOSE, {"request": digest, "time": now, "cursor": cursor})


def read_page_token(key: bytes, digest: str, token: str, now: int) -> dict[str, Any]:
    """Return the cursor of a token that ``page_token`` made.

    Args:
        key: The shop's token key.
        digest: The ``request_digest`` of the request that the token came with.
        token: As it came.
        now: Unix milliseconds.

    Raises:
        InvalidInput: The token is altered, too long, of another shop or request, or older than 24 hours.
    """
    check_limit("page_token", token)
    body = tokens.verify(key, _PURPOSE, token)
    if body["request"] != digest:
        raise InvalidInput(
            "the page_token is of another request: send it with the request that it came from",
            field="page_token",
        )
    if now - body["time"] > _LIFETIME:
        raise InvalidInput(
            "the page_token is older than 24 hours: start again with the first page", field="page_token"
        )
    cursor: dict[str, Any] = body["cursor"]
    return cursor

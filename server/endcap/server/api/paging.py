"""Pages of a list: how long they are, and the token that says where the next one starts.

A token is bound to the request that it goes on with, so that no page mixes two lists.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from google.protobuf.message import Message

from endcap.catalog.fields.limits import MAX_PAGE_SIZE, check_limit
from endcap.sdk.errors import InvalidInput
from endcap.server.recording import tokens


_Entry = TypeVar("_Entry")

DEFAULT_PAGE_SIZE = 10
"""Entries of a page where the request names no number."""

_LIFETIME = 86_400_000  # milliseconds
_PURPOSE = "page_token"
_DIGEST_BYTES = 16
_PAGING_FIELDS = ("page_size", "page_token", "request_id")
"""The fields that the requests for two pages of one list may differ in."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page that a client asks for, of a list whose entries come in the order of a cursor."""

    size: int
    """The most entries of the page; read one more to know whether the page is the last one."""

    cursor: dict[str, Any]
    """The cursor where the page starts, as JSON values; empty for the first page."""

    _key: bytes
    _digest: str
    _now: int

    @classmethod
    def read(cls, request: Any, *, key: bytes, now: int) -> Self:
        """Read the page that a request asks for.

        Args:
            request: Has ``page_size``, ``page_token`` and ``request_id``.
            key: The shop's token key.
            now: Unix milliseconds.

        Raises:
            InvalidInput: The size is negative, the token belongs to another list, or a text is too long.
        """
        digest = request_digest(request, _PAGING_FIELDS)
        token = request.page_token
        cursor = read_page_token(key, digest, token, now) if token else {}
        return cls(read_page_size(request.page_size), cursor, key, digest, now)

    def cut(
        self, entries: Sequence[_Entry], cursor: Callable[[_Entry], dict[str, Any]]
    ) -> tuple[Sequence[_Entry], str]:
        """Return the entries of the page, and the token of the next one; empty on the last page.

        Args:
            entries: The entries from the start of the page on; one more than its size if the list goes on.
            cursor: Returns the cursor of the page that follows an entry.
        """
        page = entries[: self.size]
        if len(entries) == len(page):
            return page, ""
        return page, page_token(self._key, self._digest, cursor(page[-1]), self._now)


def read_page_size(page_size: int) -> int:
    """Return the number of entries of a page: 10 for 0, and never more than 100.

    Raises:
        InvalidInput: The number asked for is negative.
    """
    if page_size < 0:
        raise InvalidInput("page_size must not be negative; use 0 for the default", field="page_size")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def request_digest(message: Message, ignored: Collection[str]) -> str:
    """Return a digest that the requests for pages of one list share, and no other request.

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
        digest: The ``request_digest`` that the next request must have.
        cursor: Where the page starts, as JSON values.
        now: Unix milliseconds.
    """
    body = {"request": digest, "time": now, "cursor": cursor}
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return tokens.sign(key, _PURPOSE, content)


def read_page_token(key: bytes, digest: str, token: str, now: int) -> dict[str, Any]:
    """Return the cursor of a token that ``page_token`` made.

    Args:
        key: The shop's token key.
        digest: The ``request_digest`` of the request that the token came with.
        token: The token as the client sent it.
        now: Unix milliseconds.

    Raises:
        InvalidInput: The token is altered, too long, of another shop or request, or older than 24 hours.
    """
    check_limit("page_token", token)
    body = json.loads(tokens.verify(key, _PURPOSE, token))
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

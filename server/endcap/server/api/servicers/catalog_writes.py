"""Writing items and users, in one request or in a stream of them, and serving what was written."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from endcap.catalog.database.engine import Database
from endcap.catalog.fields.limits import MAX_REJECTIONS, check_limit
from endcap.server.admin.entries import WriteOutcome, write_items, write_users
from endcap.server.admin.going_live import go_live
from endcap.server.api.call import caller_and_shop, identified
from endcap.server.api.convert.fields import required
from endcap.server.api.convert.items import item_reader
from endcap.server.api.convert.rejections import write_rejection
from endcap.server.api.convert.users import user_reader
from endcap.server.serving.shops import Shops
from endcap.v1 import rejection_pb2


_WRITING: Mapping[str, Any] = MappingProxyType(
    {"items": (item_reader, write_items), "users": (user_reader, write_users)}
)
"""By the field that holds the entries: what makes a reader of them from a mask, and what stores them."""


async def upsert(shops: Shops, database: Database, request: Any, field: str) -> dict[str, Any]:
    """Store the entries of one request, or only check them, and return the fields of the response.

    Args:
        shops: What this process serves.
        database: Where the entries are stored.
        request: Has the entries and ``update_mask``.
        field: The name of the entries, ``items`` or ``users``.

    Raises:
        InvalidInput: The entries are missing or too many, or another field is invalid.
    """
    caller, _ = caller_and_shop(shops)
    make_reader, write = _WRITING[field]
    entries = required(field, getattr(request, field))
    written = await write(database, caller, entries, make_reader(_mask(request)))
    return {
        "upserted_count": written.count,
        "rejections": _rejections(written),
        "revision": await go_live(shops, caller, written.revision),
        "request_id": caller.request_id,
    }


async def upsert_stream(
    shops: Shops, database: Database, requests: AsyncIterator[Any], field: str
) -> dict[str, Any]:
    """Store a stream, one message a transaction, so that it takes no more memory than a message.

    The first message says which fields are written, and whether they are; see ``upsert``.

    Raises:
        InvalidInput: A message holds too many entries, or another field of the first is wrong.
    """
    caller, _ = caller_and_shop(shops)
    make_reader, write = _WRITING[field]
    read = None
    sent = count = rejected = revision = 0
    rejections: list[rejection_pb2.Rejection] = []
    async for request in requests:
        if read is None:
            caller, read = identified(caller, request), make_reader(_mask(request))
        entries = getattr(request, field)
        check_limit(field, entries)
        written = await write(database, replace(caller, time=int(time.time() * 1000)), entries, read)
        count += written.count
        rejected += len(written.rejections)
        rejections += _rejections(written, start=sent)[: MAX_REJECTIONS - len(rejections)]
        revision = max(revision, written.revision)
        sent += len(entries)
    return {
        "upserted_count": count,
        "rejected_count": rejected,
        "rejections": rejections,
        "revision": await go_live(shops, caller, revision),
        "request_id": caller.request_id,
    }


def _mask(request: Any) -> Any:
    return request.update_mask if request.HasField("update_mask") else None


def _rejections(written: WriteOutcome, *, start: int = 0) -> list[rejection_pb2.Rejection]:
    return [
        write_rejection(start + rejection.index, rejection.id, rejection.error)
        for rejection in written.rejections
    ]

"""Writing and deleting items and users: each entry of a batch is checked, stored or rejected alone."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import check_etag, lock_revision
from endcap.catalog.items.entry_changes import Change, Changed, Entry, change_items, change_users
from endcap.catalog.items.items import Item, delete_items, get_items, upsert_items
from endcap.catalog.people.user_records import UserRecord, upsert_user_records
from endcap.sdk.errors import AlreadyExists, EndcapError, NotFound
from endcap.server.admin.caller import Caller
from endcap.server.admin.changing import changing


class Sent(Protocol):
    """An entry as it came."""

    @property
    def id(self) -> str:
        """The id of the entry."""
        ...


Reader: TypeAlias = Callable[[Any, int], Change]
"""Reads an entry, at a time in Unix milliseconds; raises ``InvalidInput`` where a field is wrong."""


@dataclass(frozen=True, slots=True)
class EntryRejection:
    """An entry that was not stored."""

    index: int
    """Its place in the batch."""

    id: str
    error: EndcapError


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """The outcome of a batch."""

    count: int
    """Entries that were stored, or would have been."""

    rejections: Sequence[EntryRejection]
    """Entries that were rejected, in the order of the batch."""

    revision: int
    """The shop's revision that holds them; 0 if nothing was stored."""


async def write_items(database: Database, caller: Caller, sent: Sequence[Sent], read: Reader) -> WriteOutcome:
    """Store the items of one batch; the bad ones are left out.

    Args:
        database: Where.
        caller: Who writes them.
        sent: The entries as sent; if an id comes twice, the first counts.
        read: Reads each.

    Raises:
        NotFound: The shop does not exist.
    """

    def store(connection: AsyncConnection, items: Collection[Item]) -> Awaitable[int]:
        return upsert_items(connection=connection, shop=caller.shop, items=items, now=caller.time)

    return await _write(database, caller, sent, read, change=change_items, store=store)


async def write_users(database: Database, caller: Caller, sent: Sequence[Sent], read: Reader) -> WriteOutcome:
    """Store the user records of one batch; see ``write_items``."""

    async def store(connection: AsyncConnection, records: Collection[UserRecord]) -> int:
        await upsert_user_records(connection=connection, shop=caller.shop, records=records, now=caller.time)
        # They leave the revision as it is: no answer shows them.
        return await lock_revision(connection=connection, shop=caller.shop)

    return await _write(database, caller, sent, read, change=change_users, store=store)


async def delete_item(
    database: Database, caller: Caller, item_id: str, *, etag: str = "", allow_missing: bool = False
) -> int:
    """Delete an item, and return the revision of the shop without it; 0 if the item did not exist.

    Args:
        database: Where.
        caller: Who deletes it.
        item_id: Which one.
        etag: The state that the caller has read; empty to delete any.
        allow_missing: Whether an item that does not exist counts as deleted.

    Raises:
        NotFound: The item does not exist.
        Conflict: The item was changed since ``etag`` was read.
    """
    async with changing(database, caller) as connection:
        found = await get_items(connection=connection, shop=caller.shop, item_ids=[item_id])
        if item_id not in found:
            if allow_missing:
                return 0
            raise NotFound(f"item {item_id!r} does not exist; set allow_missing to ignore this")
        check_etag(found[item_id].etag, etag)
        return await delete_items(
            connection=connection, shop=caller.shop, item_ids=[item_id], now=caller.time
        )


async def _write(
    database: Database,
    caller: Caller,
    sent: Sequence[Sent],
    read: Reader,
    *,
    change: Callable[..., Awaitable[Changed[Entry]]],
    store: Callable[[AsyncConnection, Collection[Entry]], Awaitable[int]],
) -> WriteOutcome:
    # Reading a thousand entries takes some 50 ms, which other calls should not wait for.
    changes, rejected = await asyncio.to_thread(_read_all, sent, caller.time, read)
    count = revision = 0
    if changes:
        async with changing(database, caller) as connection:
            shop = await get_shop(connection=connection, shop=caller.shop)
            entries, others = await change(connection=connection, shop=shop, changes=changes)
            count = len(entries)
            rejected |= others
            if entries and not caller.validate_only:
                revision = await store(connection, entries.values())
    rejections = [EntryRejection(place, sent[place].id, error) for place, error in sorted(rejected.items())]
    return WriteOutcome(count, rejections, revision)


def _read_all(
    sent: Iterable[Sent], now: int, read: Reader
) -> tuple[dict[int, Change], dict[int, EndcapError]]:
    """Return the entries that can be stored, by place in the batch, and the rejections of the others."""
    changes: dict[int, Change] = {}
    rejected: dict[int, EndcapError] = {}
    seen: set[str] = set()
    for place, entry in enumerate(sent):
        try:
            if entry.id in seen:
                raise AlreadyExists("this id is sent twice: send each once")
            seen.add(entry.id)
            changes[place] = read(entry, now)
        except EndcapError as error:
            rejected[place] = error
    return changes, rejected

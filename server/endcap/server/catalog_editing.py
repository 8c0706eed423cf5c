"""Writing items and users in batches: each entry is checked, stored or rejected alone, in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import AttributeChecker
from endcap.catalog.database import Database
from endcap.catalog.items import Item, get_items, upsert_items
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import Shop, get_shop
from endcap.catalog.tombstones import People, find_deleted
from endcap.catalog.user_records import UserRecord, get_user_records, upsert_user_records
from endcap.sdk.errors import AlreadyExists, Conflict, EndcapError, FailedPrecondition


@dataclass(frozen=True, slots=True)
class Edit:
    """Whose entries are written, when, and whether to do it."""

    shop: str

    time: int
    """Unix milliseconds."""

    request_id: str

    validate_only: bool = False
    """Whether everything is checked and nothing stored."""

    def at(self, time: int) -> "Edit":
        """Return the edit at another time."""
        return replace(self, time=time)


class _Entry(Protocol):
    @property
    def etag(self) -> str: ...


class _Sent(Protocol):
    id: str


Entry = TypeVar("Entry", bound=_Entry)
Sent = TypeVar("Sent", bound=_Sent)


class Change(Protocol[Entry]):
    """What a write says of one entry."""

    @property
    def id(self) -> str:
        """Which entry."""
        ...

    @property
    def etag(self) -> str:
        """The state that the writer has read; empty to change any."""
        ...

    def apply(self, stored: Entry | None, *, currency: str) -> Entry:
        """Return the entry as it becomes; ``InvalidInput`` where that cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class EntryKind(Generic[Entry]):
    """What makes items differ from users in the database."""

    get: Callable[[AsyncConnection, str, Sequence[str]], Awaitable[Mapping[str, Entry | EndcapError]]]
    """Returns by id the entries of a shop that exist; where nothing may be stored under an id, the reason."""

    store: Callable[[AsyncConnection, str, Sequence[Entry], int], Awaitable[int]]
    """Stores entries of a shop at a time, and returns the shop's revision that holds them."""

    checker: Callable[[Shop], Callable[[Entry, Entry | None], None]] = lambda _shop: (
        lambda _entry, _stored: None
    )
    """Returns what checks the entries of one write, each with the one that is stored, in their order."""


async def _get_items(
    connection: AsyncConnection, shop: str, ids: Sequence[str]
) -> Mapping[str, Item | EndcapError]:
    return dict(await get_items(connection=connection, shop=shop, item_ids=ids))


async def _store_items(connection: AsyncConnection, shop: str, items: Sequence[Item], now: int) -> int:
    return await upsert_items(connection=connection, shop=shop, items=items, now=now)


async def _get_users(
    connection: AsyncConnection, shop: str, ids: Sequence[str]
) -> Mapping[str, UserRecord | EndcapError]:
    records = await get_user_records(connection=connection, shop=shop, user_ids=ids)
    deleted = await find_deleted(connection=connection, shop=shop, named=People(frozenset(ids)))
    refusal = FailedPrecondition("this user was deleted: send it no more")
    return {**records, **dict.fromkeys(deleted.users, refusal)}


async def _store_users(
    connection: AsyncConnection, shop: str, records: Sequence[UserRecord], now: int
) -> int:
    await upsert_user_records(connection=connection, shop=shop, records=records, now=now)
    # They leave the revision as it is: no answer shows them.
    return await lock_revision(connection=connection, shop=shop)


def _item_checker(shop: Shop) -> Callable[[Item, Item | None], None]:
    checker = AttributeChecker(shop.attributes)

    def check(item: Item, stored: Item | None) -> None:
        checker.check(item.id, item.attributes, stored.attributes if stored else {})

    return check


ITEMS = EntryKind(_get_items, _store_items, _item_checker)
USERS = EntryKind(_get_users, _store_users)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that was not stored."""

    index: int
    """Its place in the batch."""

    id: str
    error: EndcapError


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    count: int
    """Entries that were stored, or would have been."""

    refusals: Sequence[Refusal]
    """Those that were not, in their order."""

    revision: int
    """The shop's revision that holds them; 0 if nothing was stored."""


async def write_entries(
    database: Database,
    kind: EntryKind[Entry],
    sent: Iterable[Sent],
    edit: Edit,
    *,
    read: Callable[[Sent, int], Change[Entry]],
) -> Written:
    """Store the entries of one batch; the bad ones are left out.

    Args:
        database: Where.
        kind: Of what.
        sent: As they came. Of one id sent twice, the first counts.
        edit: Where and when.
        read: Returns what an entry says, as it is read at a time in Unix milliseconds; ``InvalidInput`` where
            that is wrong.

    Raises:
        NotFound: There is no such shop.
    """
    # Reading a thousand entries takes some 50 ms, which other calls should not wait for.
    changes, refusals = await asyncio.to_thread(_read_all, sent, edit.time, read)
    if not changes:
        return Written(0, refusals, 0)
    ids = [change.id for change in changes.values()]
    opened = database.read() if edit.validate_only else database.write()
    async with opened as connection:
        if not edit.validate_only:
            # Nobody else changes the entries between the look at their etags and the commit.
            await lock_revision(connection=connection, shop=edit.shop)
        shop = await get_shop(connection=connection, shop=edit.shop)
        check = kind.checker(shop)
        stored = await kind.get(connection, edit.shop, ids)
        entries = []
        for index, change in changes.items():
            try:
                entries.append(_applied(change, stored.get(change.id), shop.currency, check))
            except EndcapError as error:
                refusals.append(Refusal(index, change.id, error))
        revision = 0
        if entries and not edit.validate_only:
            revision = await kind.store(connection, edit.shop, entries, edit.time)
    return Written(len(entries), sorted(refusals, key=lambda refusal: refusal.index), revision)


def check_etag(entry: _Entry | None, etag: str) -> None:
    """Refuse to change an entry that is not in the state its writer has read.

    Args:
        entry: As stored; None if it does not exist.
        etag: The state; empty to change any.

    Raises:
        Conflict: It is in another state.
    """
    if etag and (entry is None or entry.etag != etag):
        raise Conflict("the etag is not the current one: read the entry again")


def _applied(
    change: Change[Entry],
    stored: Entry | EndcapError | None,
    currency: str,
    check: Callable[[Entry, Entry | None], None],
) -> Entry:
    if isinstance(stored, EndcapError):
        raise stored
    check_etag(stored, change.etag)
    entry = change.apply(stored, currency=currency)
    check(entry, stored)
    return entry


def _read_all(
    sent: Iterable[Sent], now: int, read: Callable[[Sent, int], Change[Entry]]
) -> tuple[dict[int, Change[Entry]], list[Refusal]]:
    """Return what can be stored, by its place in the batch, and what cannot."""
    changes: dict[int, Change[Entry]] = {}
    refusals: list[Refusal] = []
    seen: set[str] = set()
    for index, entry in enumerate(sent):
        try:
            if entry.id in seen:
                raise AlreadyExists("this id is sent twice: send each once")
            seen.add(entry.id)
            changes[index] = read(entry, now)
        except EndcapError as error:
            refusals.append(Refusal(index, entry.id, error))
    return changes, refusals

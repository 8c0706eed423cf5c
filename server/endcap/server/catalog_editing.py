"""Writing items and users in batches: each entry is checked, stored or rejected alone, in one transaction."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.items import Item, get_items, upsert_items
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import get_shop
from endcap.catalog.tombstones import find_deleted
from endcap.catalog.user_records import UserRecord, get_user_records, upsert_user_records
from endcap.sdk.errors import AlreadyExists, Conflict, EndcapError, FailedPrecondition
from endcap.server.convert.items import read_item, read_item_selection
from endcap.server.convert.users import read_user, read_user_selection
from endcap.v1 import item_pb2, user_pb2


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


class _Message(Protocol):
    id: str


Message = TypeVar("Message", bound=_Message)
Entry = TypeVar("Entry", bound=_Entry)


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


class EntryKind(ABC, Generic[Message, Entry]):
    """What makes items differ from users, and which of their fields are written."""

    @abstractmethod
    def __init__(self, mask: FieldMask | None) -> None:
        """Take the fields to write; ``InvalidInput`` where a path of the mask is none."""

    @abstractmethod
    def read(self, message: Message, *, now: int) -> Change[Entry]:
        """Read what a message says of an entry; ``InvalidInput`` where it is wrong."""

    @abstractmethod
    async def get(
        self, connection: AsyncConnection, shop: str, ids: Sequence[str]
    ) -> Mapping[str, Entry | EndcapError]:
        """Return by id the entries that exist; where nothing may be stored under an id, the reason."""

    @abstractmethod
    async def store(self, connection: AsyncConnection, shop: str, entries: Sequence[Entry], now: int) -> int:
        """Store entries, and return the shop's revision that holds them."""


class ItemKind(EntryKind[item_pb2.Item, Item]):
    """Items."""

    def __init__(self, mask: FieldMask | None) -> None:
        self._selection = read_item_selection(mask)

    def read(self, message: item_pb2.Item, *, now: int) -> Change[Item]:
        """Read what a message says of an item."""
        return read_item(message, self._selection, now=now)

    async def get(
        self, connection: AsyncConnection, shop: str, ids: Sequence[str]
    ) -> Mapping[str, Item | EndcapError]:
        """Return by id the items that exist."""
        return dict(await get_items(connection=connection, shop=shop, item_ids=ids))

    async def store(self, connection: AsyncConnection, shop: str, entries: Sequence[Item], now: int) -> int:
        """Store items, and return the shop's revision that holds them."""
        return await upsert_items(connection=connection, shop=shop, items=entries, now=now)


class UserKind(EntryKind[user_pb2.User, UserRecord]):
    """Users."""

    def __init__(self, mask: FieldMask | None) -> None:
        self._selection = read_user_selection(mask)

    def read(self, message: user_pb2.User, *, now: int) -> Change[UserRecord]:
        """Read what a message says of a user."""
        return read_user(message, self._selection, now=now)

    async def get(
        self, connection: AsyncConnection, shop: str, ids: Sequence[str]
    ) -> Mapping[str, UserRecord | EndcapError]:
        """Return by id the records that exist; a user who was deleted stays so."""
        found: dict[str, UserRecord | EndcapError] = {}
        found.update(await get_user_records(connection=connection, shop=shop, user_ids=ids))
        deleted = await find_deleted(connection=connection, shop=shop, users=ids)
        refusal = FailedPrecondition("this user was deleted: send it no more")
        return found | dict.fromkeys(deleted.users, refusal)

    async def store(
        self, connection: AsyncConnection, shop: str, entries: Sequence[UserRecord], now: int
    ) -> int:
        """Store records, and return the shop's revision, which they leave as it is: no answer shows them."""
        await upsert_user_records(connection=connection, shop=shop, records=entries, now=now)
        return await lock_revision(connection=connection, shop=shop)


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
    kind: EntryKind[Message, Entry],
    messages: Iterable[Message],
    edit: Edit,
) -> Written:
    """Store the entries of one batch; the bad ones are left out.

    Args:
        database: Where.
        kind: Of what.
        messages: As they came. Of one id sent twice, the first counts.
        edit: Where and when.

    Raises:
        NotFound: There is no such shop.
    """
    # Reading a thousand entries takes some 50 ms, which other calls should not wait for.
    changes, refusals = await asyncio.to_thread(_read, kind, messages, edit.time)
    if not changes:
        return Written(0, refusals, 0)
    ids = [change.id for change in changes.values()]
    opened = database.read() if edit.validate_only else database.write()
    async with opened as connection:
        if not edit.validate_only:
            # Nobody else changes the entries between the look at their etags and the commit.
            await lock_revision(connection=connection, shop=edit.shop)
        currency = (await get_shop(connection=connection, shop=edit.shop)).currency
        stored = await kind.get(connection, edit.shop, ids)
        entries = []
        for index, change in changes.items():
            try:
                entries.append(_applied(change, stored.get(change.id), currency))
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


def _applied(change: Change[Entry], stored: Entry | EndcapError | None, currency: str) -> Entry:
    if isinstance(stored, EndcapError):
        raise stored
    check_etag(stored, change.etag)
    return change.apply(stored, currency=currency)


def _read(
    kind: EntryKind[Message, Entry], messages: Iterable[Message], now: int
) -> tuple[dict[int, Change[Entry]], list[Refusal]]:
    changes: dict[int, Change[Entry]] = {}
    refusals: list[Refusal] = []
    seen: set[str] = set()
    for index, message in enumerate(messages):
        try:
            if message.id in seen:
                raise AlreadyExists("this id is sent twice: send each once")
            seen.add(message.id)
            changes[index] = kind.read(message, now=now)
        except EndcapError as error:
            refusals.append(Refusal(index, message.id, error))
    return changes, refusals

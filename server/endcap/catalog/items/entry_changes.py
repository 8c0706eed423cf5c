"""Changes of items and users, from requests and from files: one set of rules for both.

A write changes only the fields that it names. A new item needs a title, because an item without one cannot be
shown; a title can be replaced but not removed. The amounts of an item have one currency, its attributes have
the types that the shop defines, an item does not expire before it is available, and a deleted user cannot be
written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import read_attribute_types
from endcap.catalog.configuration.shops import ShopRecord
from endcap.catalog.database.revisions import check_etag
from endcap.catalog.fields.limits import check_limit
from endcap.catalog.items.attribute_checks import AttributeChecker
from endcap.catalog.items.items import Item, get_items
from endcap.catalog.people.deleted_people import People, find_deleted
from endcap.catalog.people.user_records import UserRecord, get_user_records
from endcap.sdk.errors import EndcapError, FailedPrecondition, InvalidInput


Entry = TypeVar("Entry", Item, UserRecord)

USER_DELETED = "the user was deleted: do not send this user again"

_AMOUNTS = ("price", "original_price", "cost")


@dataclass(frozen=True, slots=True)
class Change:
    """A write to one item or user."""

    id: str

    values: Mapping[str, Any]
    """Values of fields that are written whole, by name in ``Item`` or ``UserRecord``."""

    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Entries to write into maps, by field; the value None removes an entry."""

    etag: str = ""
    """The etag of the state that the writer has read; empty to overwrite any state."""


Changed: TypeAlias = tuple[dict[str, Entry], dict[int, EndcapError]]
"""Changed entries by id, and the errors of rejected changes by place."""


async def change_items(
    *, connection: AsyncConnection, shop: ShopRecord, changes: Mapping[int, Change]
) -> Changed[Item]:
    """Apply changes to a shop's items in memory; nothing is stored.

    Args:
        connection: A connection; it holds the shop's revision if the items will be stored.
        shop: The shop.
        changes: Changes by place; a second change of an id applies to the result of the first.
    """
    stored = await get_items(
        connection=connection, shop=shop.id, item_ids=[change.id for change in changes.values()]
    )
    # Read anew: others may have defined attributes since the shop was read.
    types = await read_attribute_types(connection=connection, shop=shop.id)
    return apply_changes(
        changes, stored, partial(changed_item, currency=shop.currency, checker=AttributeChecker(types))
    )


async def change_users(
    *, connection: AsyncConnection, shop: ShopRecord, changes: Mapping[int, Change]
) -> Changed[UserRecord]:
    """Apply changes to a shop's user records in memory; see ``change_items``."""
    ids = frozenset(change.id for change in changes.values())
    stored = await get_user_records(connection=connection, shop=shop.id, user_ids=ids)
    deleted = (await find_deleted(connection=connection, shop=shop.id, named=People(ids))).users

    def changed_user(change: Change, record: UserRecord | None) -> UserRecord:
        if change.id in deleted:
            raise FailedPrecondition(USER_DELETED)
        return _replaced(UserRecord(change.id) if record is None else record, change)

    return apply_changes(changes, stored, changed_user)


def apply_changes(
    changes: Mapping[int, Change],
    stored: Mapping[str, Entry],
    change_one: Callable[[Change, Entry | None], Entry],
) -> Changed[Entry]:
    """Apply changes to entries, one after the other.

    Args:
        changes: Changes by place.
        stored: The stored entries, by id.
        change_one: Returns the changed entry, given a change and the entry before, None if none is stored.
    """
    changed: dict[str, Entry] = {}
    rejected: dict[int, EndcapError] = {}
    for place, change in changes.items():
        before = changed.get(change.id) or stored.get(change.id)
        try:
            check_etag(before.etag if before else None, change.etag)
            changed[change.id] = change_one(change, before)
        except EndcapError as error:
            rejected[place] = error
    return changed, rejected


def changed_item(change: Change, stored: Item | None, *, currency: str, checker: AttributeChecker) -> Item:
    """Return an item after a change.

    Args:
        change: The change.
        stored: The stored item; None for a new item.
        currency: The shop's currency, as an ISO 4217 code.
        checker: Holds the attribute definitions of the shop, and takes in those that the item adds.

    Raises:
        InvalidInput: The item would have no title, would expire before it is available, would have amounts in
            two currencies, or an attribute of another type than the shop defines.
    """
    before = Item(change.id) if stored is None else stored
    item = _replaced(before, change)
    if not item.title and (stored is None or "title" in change.values):
        raise InvalidInput("title is missing", field="title")
    start, end = item.available_time, item.expire_time
    if start is not None and end is not None and start >= end:
        raise InvalidInput("expire_time must be later than available_time", field="expire_time")
    if (before.currency or currency) != (item.currency or currency):
        for name in _AMOUNTS:
            if f"{name}_nanos" not in change.values and getattr(before, f"{name}_nanos") is not None:
                raise InvalidInput(f"currency differs from that of the stored {name}: write both", field=name)
    checker.check(item.id, item.attributes, before.attributes)
    return item


def _replaced(entry: Entry, change: Change) -> Entry:
    values = dict(change.values)
    for name, written in change.entries.items():
        merged = {**getattr(entry, name), **written}
        values[name] = {key: value for key, value in merged.items() if value is not None}
        check_limit(name, values[name])
    return replace(entry, **values)

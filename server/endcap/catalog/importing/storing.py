"""Writing what an import has read, and saying beforehand what would be written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import (
    AttributeChecker,
    AttributeRejected,
    AttributeTypes,
    read_attribute_types,
)
from endcap.catalog.events import Outcome, foresee_events, store_events
from endcap.catalog.importing.changes import ItemChange, UserChange
from endcap.catalog.importing.reading import Batch
from endcap.catalog.items import Item, get_items, upsert_items
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import Shop
from endcap.catalog.tombstones import People, find_deleted
from endcap.catalog.user_records import UserRecord, get_user_records, upsert_user_records
from endcap.sdk.errors import InvalidInput


_Change = TypeVar("_Change", ItemChange, UserChange)
_Entry = TypeVar("_Entry", Item, UserRecord)

_USER_DELETED = "the user was deleted"
_REASONS: Mapping[Outcome, str] = {
    Outcome.CONFLICT: "event_id is that of another event",
    Outcome.USER_DELETED: _USER_DELETED,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row was not stored."""

    reason: str
    """One of few, by which rows are counted."""

    complaint: str = ""
    """What is wrong with this row, where the reason does not say all."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the rows of a batch that can be stored."""

    refused: Mapping[int, Refusal] = field(default_factory=dict)
    """Why rows were not stored, by their place."""

    duplicates: int = 0
    """Events that were there before."""


async def store_batch(*, connection: AsyncConnection, shop: Shop, batch: Batch, now: int) -> Written:
    """Write what a batch holds.

    Args:
        connection: One that writes.
        shop: The shop.
        batch: The rows.
        now: Unix milliseconds.
    """
    if batch.events:
        stored = await store_events(connection=connection, shop=shop.id, events=batch.events)
        return _of_events(stored.outcomes)
    # Nobody may change what is read until it is written.
    await lock_revision(connection=connection, shop=shop.id)
    items, refused_items = await _items(connection, shop, batch.items)
    if items:
        await upsert_items(connection=connection, shop=shop.id, items=items.values(), now=now)
    users, refused_users = await _users(connection, shop, batch.users)
    if users:
        await upsert_user_records(connection=connection, shop=shop.id, records=users.values(), now=now)
    return Written(refused_items | refused_users)


async def foresee_batch(*, connection: AsyncConnection, shop: Shop, batch: Batch) -> Written:
    """Say what would become of a batch as things are stored now; see ``store_batch``.

    Args:
        connection: Any.
        shop: The shop.
        batch: The rows.
    """
    _, refused_items = await _items(connection, shop, batch.items)
    _, refused_users = await _users(connection, shop, batch.users)
    of_events = _of_events(
        await foresee_events(connection=connection, shop=shop.id, events=batch.events, revision=shop.revision)
    )
    return Written({**refused_items, **refused_users, **of_events.refused}, of_events.duplicates)


def foresee_first_batch(batch: Batch) -> Written:
    """Say what would become of a batch in a shop that is empty."""
    _, refused = _apply(batch.items, {}, _item_change("", {}))
    return Written(refused)


async def _items(
    connection: AsyncConnection, shop: Shop, rows: Sequence[ItemChange]
) -> tuple[dict[str, Item], dict[int, Refusal]]:
    """Return the items as they become, by id, and why rows are refused, by their place."""
    stored = await get_items(connection=connection, shop=shop.id, item_ids=[row.id for row in rows])
    # Read anew for each batch: others may have defined attributes since the import began.
    types = await read_attribute_types(connection=connection, shop=shop.id)
    return _apply(rows, stored, _item_change(shop.currency, types))


def _item_change(currency: str, types: AttributeTypes) -> Callable[[ItemChange, Item | None], Item]:
    """Return what makes the item that a row changes, and checks its attributes."""
    checker = AttributeChecker(types)

    def change(row: ItemChange, stored: Item | None) -> Item:
        item = row.apply(stored, currency=currency)
        checker.check(item.id, item.attributes, stored.attributes if stored else {})
        return item

    return change


async def _users(
    connection: AsyncConnection, shop: Shop, rows: Sequence[UserChange]
) -> tuple[dict[str, UserRecord], dict[int, Refusal]]:
    ids = {row.id for row in rows}
    if not ids:
        return {}, {}
    stored = await get_user_records(connection=connection, shop=shop.id, user_ids=ids)
    deleted = (await find_deleted(connection=connection, shop=shop.id, named=People(frozenset(ids)))).users

    def change(row: UserChange, record: UserRecord | None) -> UserRecord:
        if row.id in deleted:
            raise InvalidInput(_USER_DELETED, field="user_id")
        return row.apply(record)

    return _apply(rows, stored, change)


def _apply(
    rows: Sequence[_Change], stored: Mapping[str, _Entry], change: Callable[[_Change, _Entry | None], _Entry]
) -> tuple[dict[str, _Entry], dict[int, Refusal]]:
    """Change entries row by row; of two rows of one id, the second changes what the first has made."""
    changed: dict[str, _Entry] = {}
    refused: dict[int, Refusal] = {}
    for place, row in enumerate(rows):
        try:
            changed[row.id] = change(row, changed.get(row.id) or stored.get(row.id))
        except AttributeRejected as error:
            refused[place] = Refusal(error.rule, error.complaint)
        except InvalidInput as error:
            refused[place] = Refusal(str(error))
    return changed, refused


def _of_events(outcomes: Sequence[Outcome]) -> Written:
    refused = {
        place: Refusal(_REASONS[outcome]) for place, outcome in enumerate(outcomes) if outcome in _REASONS
    }
    return Written(refused, outcomes.count(Outcome.DUPLICATE))

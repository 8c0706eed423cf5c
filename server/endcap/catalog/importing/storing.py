"""Storing the batches of an import, or predicting the outcome."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.configuration.shops import ShopRecord
from endcap.catalog.database.revisions import lock_revision
from endcap.catalog.events.events import Event, Outcome
from endcap.catalog.events.storing import foresee_events, store_events
from endcap.catalog.importing.reading import Batch
from endcap.catalog.items.attribute_checks import AttributeChecker, AttributeRejected
from endcap.catalog.items.entry_changes import (
    USER_DELETED,
    apply_changes,
    change_items,
    change_users,
    changed_item,
)
from endcap.catalog.items.items import upsert_items
from endcap.catalog.people.user_records import upsert_user_records
from endcap.sdk.errors import EndcapError


_REASONS: Mapping[Outcome, str] = {
    Outcome.CONFLICT: "event_id belongs to another event",
    Outcome.NOTHING_REVERSED: "reversed_event_id is of no earlier event of the same user and item",
    Outcome.USER_DELETED: USER_DELETED,
}


@dataclass(frozen=True, slots=True)
class RowRejection:
    """The reason why a row was not stored."""

    reason: str
    """One of few texts, so that rows can be counted by it."""

    complaint: str = ""
    """Details of this row's fault; empty if the reason is enough."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The outcome of the valid rows of a batch."""

    refused: Mapping[int, RowRejection] = field(default_factory=dict)
    """The rows that were not stored, by place among the valid rows."""

    duplicates: int = 0
    """Events that were stored before."""


async def store_batch(
    *, connection: AsyncConnection, shop: ShopRecord, batch: Batch, now: int
) -> BatchOutcome:
    """Store a batch.

    Args:
        connection: A connection that writes.
        shop: The shop.
        batch: The rows.
        now: Unix milliseconds.
    """
    if batch.events:
        events, refused = _with_items(batch.events, shop)
        stored = await store_events(connection=connection, shop=shop.id, events=list(events.values()))
        return _of_events(events, stored.outcomes, refused)
    # Nobody else may change entries between reading and writing them.
    await lock_revision(connection=connection, shop=shop.id)
    if batch.users:
        users, errors = await change_users(connection=connection, shop=shop, changes=batch.users)
        if users:
            await upsert_user_records(connection=connection, shop=shop.id, records=users.values(), now=now)
    else:
        items, errors = await change_items(connection=connection, shop=shop, changes=batch.items)
        if items:
            await upsert_items(connection=connection, shop=shop.id, items=items.values(), now=now)
    return BatchOutcome(_reasons(errors))


async def foresee_batch(*, connection: AsyncConnection, shop: ShopRecord, batch: Batch) -> BatchOutcome:
    """Return the outcome that ``store_batch`` would have now, without storing anything.

    Args:
        connection: A connection that reads or writes.
        shop: The shop.
        batch: The rows.
    """
    _, refused_items = await change_items(connection=connection, shop=shop, changes=batch.items)
    _, refused_users = await change_users(connection=connection, shop=shop, changes=batch.users)
    events, refused = _with_items(batch.events, shop)
    outcomes = await foresee_events(
        connection=connection, shop=shop.id, events=list(events.values()), revision=shop.revision
    )
    return _of_events(events, outcomes, refused | _reasons(refused_items | refused_users))


def foresee_first_batch(batch: Batch) -> BatchOutcome:
    """Return the outcome that a batch would have in an empty shop."""
    _, refused = apply_changes(
        batch.items, {}, partial(changed_item, currency="", checker=AttributeChecker({}))
    )
    _, refused_events = _with_items(batch.events, ShopSettings())
    return BatchOutcome(_reasons(refused) | refused_events)


def _with_items(
    events: Sequence[Event], settings: ShopSettings
) -> tuple[dict[int, Event], dict[int, RowRejection]]:
    """Return the events that have an item or need none, and the rejections of the others, by place."""
    refused = {
        place: RowRejection("item_id is missing")
        for place, event in enumerate(events)
        if not event.item_id and settings.needs_item(event.type)
    }
    return {place: event for place, event in enumerate(events) if place not in refused}, refused


def _reasons(refused: Mapping[int, EndcapError]) -> dict[int, RowRejection]:
    return {place: _reason(error) for place, error in refused.items()}


def _reason(error: EndcapError) -> RowRejection:
    if isinstance(error, AttributeRejected):
        return RowRejection(error.rule, error.complaint)
    return RowRejection(str(error))


def _of_events(
    places: Iterable[int], outcomes: Sequence[Outcome], refused: Mapping[int, RowRejection]
) -> BatchOutcome:
    """Return the outcome of events at places, and of rows that were refused before."""
    conflicts = {
        place: RowRejection(_REASONS[outcome])
        for place, outcome in zip(places, outcomes, strict=True)
        if outcome in _REASONS
    }
    return BatchOutcome({**refused, **conflicts}, outcomes.count(Outcome.DUPLICATE))

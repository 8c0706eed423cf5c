"""Events: stored once each, in an order that every process sees."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.membership import in_chunks, is_among
from endcap.catalog.revisions import advance_revision, lock_revision
from endcap.catalog.tables import EVENTS
from endcap.catalog.tombstones import People, find_deleted
from endcap.catalog.upserting import insert_rows
from endcap.catalog.users import remember_users, remember_visitors


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody did with an item. At least one of ``user_id`` and ``visitor_id`` is set."""

    event_id: str
    """Unique within the shop."""

    type: str
    item_id: str

    time: int
    """Unix milliseconds."""

    user_id: str | None = None
    visitor_id: str | None = None
    quantity: float = 1.0

    price_nanos: int | None = None
    """Billionths of a unit of ``currency``, for one piece."""

    currency: str = ""
    """ISO 4217 code; empty for the shop's."""

    value: float | None = None
    attribution_token: str = ""
    order_id: str = ""

    properties: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by name."""

    time_is_given: bool = True
    """False when ``time`` is only that of the call, so that a repeated call is still the same event."""

    def body_hash(self) -> bytes:
        """Return a digest of the content: what the caller sent, but for the event's id."""
        body = (*_body(self), self.time if self.time_is_given else None)
        return hashlib.blake2b(_encode(body).encode(), digest_size=16).digest()


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_COLUMNS = tuple(attribute.name for attribute in fields(Event) if attribute.name != "time_is_given")
_body = attrgetter(*(name for name in _COLUMNS if name not in {"event_id", "time"}))


class Outcome(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"

    DUPLICATE = "duplicate"
    """The same event was stored before."""

    CONFLICT = "conflict"
    """Another event was stored before under this id; this one was not."""

    USER_DELETED = "user_deleted"
    """Its user or visitor was deleted: it was not stored."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What ``store_events`` did."""

    outcomes: tuple[Outcome, ...]
    """One an event, in their order."""

    accepted: tuple[Event, ...]
    """The events that were not stored before, in their order."""

    revision: int
    """The shop's revision that holds all of them."""


async def store_events(
    *,
    connection: AsyncConnection,
    shop: str,
    events: Sequence[Event],
    hashes: Sequence[bytes] | None = None,
) -> Stored:
    """Store events that are not stored yet, with the users and visitors that they name.

    Args:
        connection: One that writes.
        shop: The shop's id.
        events: Any number, in the order that they are to have.
        hashes: Of their bodies, when they were computed while another transaction was being written.

    Raises:
        NotFound: There is no such shop.
    """
    revision = await lock_revision(connection=connection, shop=shop)
    deleted = await _deleted(connection, shop, events)
    if hashes is None:
        hashes = [event.body_hash() for event in events]
    # Nearly always all of them are new: to ask first which are not would take as long as to store them.
    outcomes = _judge(events, hashes, deleted, {})
    rows = [
        _row(event, shop, body_hash, revision + 1)
        for event, body_hash, outcome in zip(events, hashes, outcomes, strict=True)
        if outcome is Outcome.ACCEPTED
    ]
    if await insert_rows(connection=connection, table=EVENTS, rows=rows, changed=()) < len(rows):
        outcomes = _judge(events, hashes, deleted, await _stored_hashes(connection, shop, events, revision))
    accepted = tuple(
        event for event, outcome in zip(events, outcomes, strict=True) if outcome is Outcome.ACCEPTED
    )
    if accepted:
        revision = await advance_revision(connection=connection, shop=shop)
        await _remember(connection, shop, accepted)
    return Stored(tuple(outcomes), accepted, revision)


async def foresee_events(
    *, connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> list[Outcome]:
    """Say what ``store_events`` would do with events, as things are stored up to a revision."""
    deleted = await _deleted(connection, shop, events)
    stored = await _stored_hashes(connection, shop, events, revision)
    return _judge(events, [event.body_hash() for event in events], deleted, stored)


async def events_after(*, connection: AsyncConnection, shop: str, revision: int) -> list[tuple[int, Event]]:
    """Return the events of later revisions than ``revision``, each with its own, in their order."""
    query = (
        select(EVENTS.c.revision, *(EVENTS.c[name] for name in _COLUMNS))
        .where(EVENTS.c.shop == shop, EVENTS.c.revision > revision)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    rows = await connection.execute(query)
    return [(of, Event(**dict(zip(_COLUMNS, values, strict=True)))) for of, *values in rows]


async def _deleted(connection: AsyncConnection, shop: str, events: Sequence[Event]) -> People:
    return await find_deleted(
        connection=connection,
        shop=shop,
        users={event.user_id for event in events if event.user_id is not None},
        visitors={event.visitor_id for event in events if event.visitor_id is not None},
    )


async def _stored_hashes(
    connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> dict[str, bytes]:
    """Return the hashes of what was stored under the ids of events up to a revision, by event id."""
    hashes: dict[str, bytes] = {}
    for chunk in in_chunks(list({event.event_id for event in events})):
        query = select(EVENTS.c.event_id, EVENTS.c.body_hash, EVENTS.c.revision).where(
            EVENTS.c.shop == shop, is_among(connection, EVENTS.c.event_id, chunk)
        )
        # Not a condition of the query: SQLite would go through all events of these revisions for it.
        hashes.update(
            (event_id, body_hash)
            for event_id, body_hash, stored in await connection.execute(query)
            if stored <= revision
        )
    return hashes


def _judge(
    events: Sequence[Event], hashes: Sequence[bytes], deleted: People, stored: Mapping[str, bytes]
) -> list[Outcome]:
    """Return what becomes of events, given who was deleted and the hashes of those that are stored."""
    known = dict(stored)
    outcomes = []
    for event, body_hash in zip(events, hashes, strict=True):
        if event.user_id in deleted.users or event.visitor_id in deleted.visitors:
            outcomes.append(Outcome.USER_DELETED)
        elif event.event_id not in known:
            known[event.event_id] = body_hash
            outcomes.append(Outcome.ACCEPTED)
        else:
            same = known[event.event_id] == body_hash
            outcomes.append(Outcome.DUPLICATE if same else Outcome.CONFLICT)
    return outcomes


def _row(event: Event, shop: str, body_hash: bytes, revision: int) -> tuple[Any, ...]:
    properties = _encode(dict(event.properties)) if event.properties else "{}"
    return (
        shop,
        event.event_id,
        body_hash,
        event.type,
        event.user_id,
        event.visitor_id,
        event.item_id,
        event.time,
        event.quantity,
        event.price_nanos,
        event.currency,
        event.value,
        event.attribution_token,
        event.order_id,
        properties,
        revision,
    )


async def _remember(connection: AsyncConnection, shop: str, events: Sequence[Event]) -> None:
    users: dict[str, int] = {}
    visitors: dict[str, int] = {}
    links: dict[str, str] = {}
    for event in events:
        if event.user_id is not None:
            users.setdefault(event.user_id, event.time)
        if event.visitor_id is not None:
            visitors.setdefault(event.visitor_id, event.time)
            if event.user_id is not None:
                links[event.visitor_id] = event.user_id
    await remember_users(connection=connection, shop=shop, created_times=users)
    await remember_visitors(connection=connection, shop=shop, created_times=visitors, links=links)

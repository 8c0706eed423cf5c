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

from endcap.catalog.membership import is_among
from endcap.catalog.revisions import advance_revision, lock_revision
from endcap.catalog.tables import EVENTS
from endcap.catalog.tombstones import find_deleted
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
_CHUNK = 5_000  # ids a query: far below what a database allows of parameters


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
    deleted = await find_deleted(
        connection=connection,
        shop=shop,
        users={event.user_id for event in events if event.user_id is not None},
        visitors={event.visitor_id for event in events if event.visitor_id is not None},
    )
    if hashes is None:
        hashes = [event.body_hash() for event in events]
    firsts: dict[str, int] = {}  # places of the events to store, by their ids
    for place, event in enumerate(events):
        if event.user_id not in deleted.users and event.visitor_id not in deleted.visitors:
            firsts.setdefault(event.event_id, place)
    rows = [_row(events[place], shop, hashes[place], revision + 1) for place in firsts.values()]
    # Nearly always all of them are new: to ask first which are not would take as long as to store them.
    stored = {}
    if await insert_rows(connection=connection, table=EVENTS, rows=rows, changed=()) < len(rows):
        stored = await stored_hashes(
            connection=connection, shop=shop, event_ids=list(firsts), revision=revision
        )
    outcomes: list[Outcome] = []
    accepted: list[Event] = []
    for place, event in enumerate(events):
        first = firsts.get(event.event_id)
        if first is None or event.user_id in deleted.users or event.visitor_id in deleted.visitors:
            outcomes.append(Outcome.USER_DELETED)
        elif first == place and event.event_id not in stored:
            outcomes.append(Outcome.ACCEPTED)
            accepted.append(event)
        else:
            known = stored.get(event.event_id, hashes[first])
            outcomes.append(Outcome.DUPLICATE if known == hashes[place] else Outcome.CONFLICT)
    if accepted:
        revision = await advance_revision(connection=connection, shop=shop)
        await _remember(connection, shop, accepted)
    return Stored(tuple(outcomes), tuple(accepted), revision)


async def events_after(*, connection: AsyncConnection, shop: str, revision: int) -> list[tuple[int, Event]]:
    """Return the events of later revisions than ``revision``, each with its own, in their order."""
    query = (
        select(EVENTS.c.revision, *(EVENTS.c[name] for name in _COLUMNS))
        .where(EVENTS.c.shop == shop, EVENTS.c.revision > revision)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    rows = await connection.execute(query)
    return [(of, Event(**dict(zip(_COLUMNS, values, strict=True)))) for of, *values in rows]


async def stored_hashes(
    *, connection: AsyncConnection, shop: str, event_ids: Sequence[str], revision: int
) -> dict[str, bytes]:
    """Return the hashes of those of some events that were stored up to a revision, by event id."""
    hashes: dict[str, bytes] = {}
    for start in range(0, len(event_ids), _CHUNK):
        query = select(EVENTS.c.event_id, EVENTS.c.body_hash, EVENTS.c.revision).where(
            EVENTS.c.shop == shop,
            is_among(connection, EVENTS.c.event_id, event_ids[start : start + _CHUNK]),
        )
        # Not a condition of the query: SQLite would go through all events of these revisions for it.
        hashes.update(
            (event_id, body_hash)
            for event_id, body_hash, stored in await connection.execute(query)
            if stored <= revision
        )
    return hashes


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

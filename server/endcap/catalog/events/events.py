"""Events: each is stored once, in an order that every process sees."""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import String, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import insert_rows
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.revisions import advance_revision, lock_revision
from endcap.catalog.database.tables import EVENTS
from endcap.catalog.people.deleted_people import People, find_deleted
from endcap.catalog.people.users import remember_users, remember_visitors


_Value = TypeVar("_Value")
_Links: TypeAlias = dict[str, tuple[str, int]]


class Attribution(StrEnum):
    """The result of comparing an event with its attribution token."""

    NONE = "none"
    """The event has no token."""

    VALID = "valid"
    """The answer showed the item to the person of the event."""

    FOREIGN_ITEM = "foreign_item"
    """The answer did not show the item."""

    FOREIGN_UNIT = "foreign_unit"
    """The answer was for somebody else."""

    INVALID = "invalid"
    """The shop did not make the token; the token is not stored."""

    UNCHECKED = "unchecked"
    """The token came with an imported file, or the query for logins failed."""


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

    attribution: Attribution = Attribution.NONE

    time_is_given: bool = True
    """False if ``time`` is the time of the call, so that a repeated call still counts as the same event."""


_AT_ONCE = 100  # rows read between two turns of the event loop: about a millisecond

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_COLUMNS = tuple(attribute.name for attribute in fields(Event) if attribute.name != "time_is_given")


class Outcome(StrEnum):
    """The result of one event."""

    ACCEPTED = "accepted"

    DUPLICATE = "duplicate"
    """The same event was stored before."""

    CONFLICT = "conflict"
    """Another event was stored before under this id; this event was not stored."""

    USER_DELETED = "user_deleted"
    """The user or visitor of the event was deleted; the event was not stored."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of ``store_events``."""

    outcomes: tuple[Outcome, ...]
    """One outcome for each event, in the order of the events."""

    accepted: tuple[Event, ...]
    """The newly stored events, in their order."""

    revision: int
    """The shop's revision that holds all accepted events."""


_ID, _TIME, _PROPERTIES = 1, 6, 13  # indices in a row

Row: TypeAlias = tuple[Any, ...]
"""A row of the table, with values as the driver takes them."""


class KnownPeople(Protocol):
    """The people of a shop that are held in memory, where a lookup is faster than in the database."""

    @property
    def revision(self) -> int:
        """The last known revision of the shop."""

    def missing_users(self, user_ids: AbstractSet[str]) -> AbstractSet[str]:
        """Return the users that are not known in memory."""

    def missing_visitors(self, visitor_ids: AbstractSet[str]) -> AbstractSet[str]:
        """Return the visitors that are not known in memory."""

    def is_linked(self, visitor_id: str, user_id: str) -> bool:
        """Return whether a visitor is linked to a user."""


async def store_events(
    *,
    connection: AsyncConnection,
    shop: str,
    events: Sequence[Event],
    rows: Sequence[Row] | None = None,
    known: KnownPeople | None = None,
) -> Stored:
    """Store events that are not stored yet, with the users and visitors that they name.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        events: Any number of events, in the order to store them.
        rows: The rows of the events as ``event_row`` makes them, if made in advance; None to make them here.
        known: People who need not be stored; ignored if the shop has a later revision than ``known``.

    Raises:
        NotFound: The shop does not exist.
    """
    revision = await lock_revision(connection=connection, shop=shop)
    named = People.of(events)
    deleted = await find_deleted(connection=connection, shop=shop, named=named)
    if rows is None:
        rows = [event_row(shop, event) for event in events]
    # Nearly always all events are new, and a query for known ones would take as long as storing them.
    outcomes = _judge(events, rows, deleted, {})
    new = [(*row, revision + 1) for row in _accepted(rows, outcomes)]
    if await insert_rows(connection=connection, table=EVENTS, rows=new, changed=()) < len(new):
        stored = await _stored_rows(connection, shop, events, revision)
        outcomes = _judge(events, rows, deleted, stored)
    accepted = tuple(_accepted(events, outcomes))
    if accepted:
        links = _links(accepted) if named.visitors else {}
        if known is not None and known.revision == revision:
            named = _unknown(named, known, links)
        if named:
            await _remember(connection, shop, accepted, named, links)
        revision = await advance_revision(connection=connection, shop=shop)
    return Stored(tuple(outcomes), accepted, revision)


async def foresee_events(
    *, connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> list[Outcome]:
    """Return the outcomes that ``store_events`` would have, given what is stored up to a revision."""
    deleted = await find_deleted(connection=connection, shop=shop, named=People.of(events))
    stored = await _stored_rows(connection, shop, events, revision)
    return _judge(events, [event_row(shop, event) for event in events], deleted, stored)


async def events_after(*, connection: AsyncConnection, shop: str, revision: int) -> list[tuple[int, Event]]:
    """Return the events after a revision in order, each with the revision that stored it."""
    query = (
        select(EVENTS.c.revision, *(EVENTS.c[name] for name in _COLUMNS))
        .where(EVENTS.c.shop == shop, EVENTS.c.revision > revision)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    result = await connection.stream(query)
    return [
        (of, Event(**dict(zip(_COLUMNS, values, strict=True))))
        async for part in result.partitions(_AT_ONCE)
        for of, *values in part
    ]


def event_row(shop: str, event: Event) -> Row:
    """Return the row of an event, without its revision, which is the last column."""
    return (
        shop,
        event.event_id,
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
        _encode(dict(event.properties)) if event.properties else "{}",
        event.attribution.value,
    )


_APART = {"sequence", "properties", "attribution", "revision"}
# Columns in the order of ``event_row``; properties as text.
_ROWS = select(
    *(column for column in EVENTS.c if column.name not in _APART),
    cast(EVENTS.c.properties, String),
    EVENTS.c.attribution,
    EVENTS.c.revision,
)


async def _stored_rows(
    connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> dict[str, Row]:
    """Return the rows stored up to a revision under the ids of events, by event id."""
    stored: dict[str, Row] = {}
    for chunk in in_chunks(list({event.event_id for event in events})):
        query = _ROWS.where(EVENTS.c.shop == shop, is_among(connection, EVENTS.c.event_id, chunk))
        # Not a condition of the query: SQLite would scan all events of these revisions.
        rows = (row for *row, of in await connection.execute(query) if of <= revision)
        stored.update((row[_ID], tuple(row)) for row in rows)
    return stored


def _judge(
    events: Sequence[Event], rows: Sequence[Row], deleted: People, stored: Mapping[str, Row]
) -> list[Outcome]:
    """Return the outcomes of events, given the deleted people and the events stored under their ids."""
    if not deleted and not stored and len({event.event_id for event in events}) == len(events):
        return [Outcome.ACCEPTED] * len(events)
    known = dict(stored)
    outcomes = []
    for event, row in zip(events, rows, strict=True):
        if event.user_id in deleted.users or event.visitor_id in deleted.visitors:
            outcomes.append(Outcome.USER_DELETED)
        elif event.event_id not in known:
            known[event.event_id] = row
            outcomes.append(Outcome.ACCEPTED)
        elif _repeats(event, row, known[event.event_id]):
            outcomes.append(Outcome.DUPLICATE)
        else:
            outcomes.append(Outcome.CONFLICT)
    return outcomes


def _repeats(event: Event, row: Row, stored: Row) -> bool:
    """Return whether an event is equal to the stored event of the same id.

    The attribution may differ: a login between two calls links a visitor to a user.
    """
    if not event.time_is_given:
        row = (*row[:_TIME], stored[_TIME], *row[_TIME + 1 :])
    # PostgreSQL spells numbers in its own way: 1e23 becomes an integer of 24 digits.
    read = partial(json.loads, parse_int=float)
    if row[:_PROPERTIES] != stored[:_PROPERTIES]:
        return False
    properties, stored_properties = row[_PROPERTIES], stored[_PROPERTIES]
    return bool(properties == stored_properties or read(properties) == read(stored_properties))


def _accepted(values: Sequence[_Value], outcomes: Sequence[Outcome]) -> Iterator[_Value]:
    return (value for value, outcome in zip(values, outcomes, strict=True) if outcome is Outcome.ACCEPTED)


def _unknown(named: People, known: KnownPeople, links: _Links) -> People:
    """Return the people of events who, or whose link to a user, are not known in memory."""
    return People(
        frozenset(known.missing_users(named.users)),
        frozenset(known.missing_visitors(named.visitors)).union(
            visitor for visitor, (user, _) in links.items() if not known.is_linked(visitor, user)
        ),
    )


async def _remember(
    connection: AsyncConnection, shop: str, events: Sequence[Event], named: People, links: _Links
) -> None:
    """Store the people in ``named``, with the times of their first events."""
    if named.users:
        # Reversed, so that the first event of each person counts.
        times = {event.user_id: event.time for event in reversed(events) if event.user_id in named.users}
        await remember_users(connection=connection, shop=shop, created_times=times)
    if named.visitors:
        times = {
            event.visitor_id: event.time for event in reversed(events) if event.visitor_id in named.visitors
        }
        await remember_visitors(connection=connection, shop=shop, created_times=times, links=links)


def _links(events: Sequence[Event]) -> _Links:
    """Return the user of each visitor after events and the time of the link, by visitor id."""
    links: _Links = {}
    for event in events:
        if event.visitor_id is not None and event.user_id is not None:
            before = links.get(event.visitor_id)
            if before is None or before[0] != event.user_id:
                links[event.visitor_id] = (event.user_id, event.time)
    return links

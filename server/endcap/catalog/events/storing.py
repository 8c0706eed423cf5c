"""Stores events: each once, with the people that it names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from sqlalchemy import String, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import insert_rows
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.revisions import advance_revision, lock_revision
from endcap.catalog.database.tables import EVENTS
from endcap.catalog.events.events import Event, Outcome, Row, event_row
from endcap.catalog.events.reversals import Targets, find_targets, take_back
from endcap.catalog.people.deleted_people import People, find_deleted
from endcap.catalog.people.users import remember_users, remember_visitors


_Value = TypeVar("_Value")
_Links: TypeAlias = dict[str, tuple[str, int]]

_ID, _TIME, _PROPERTIES = 1, 6, 16  # places in a row


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of ``store_events``."""

    outcomes: tuple[Outcome, ...]
    """One an event, in their order."""

    accepted: tuple[Event, ...]
    """The events that were not stored before, in their order."""

    taken_back: tuple[Event, ...]
    """The events, of now or before, of which the accepted ones left nothing."""

    revision: int
    """The shop's revision that holds all of them."""


class KnownPeople(Protocol):
    """The people of a shop, as they are known in memory: it is quicker to ask than the database."""

    @property
    def revision(self) -> int:
        """The last known revision of the shop."""

    @property
    def users(self) -> Mapping[str, int]:
        """The users that the shop certainly has, by their ids."""

    @property
    def visitors(self) -> Mapping[str, int]:
        """The visitors that the shop certainly has, by their ids."""

    def is_linked(self, visitor_id: str, user_id: str) -> bool:
        """Say whether a visitor is linked to a user."""


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
        connection: One that writes.
        shop: The shop's id.
        events: Any number, in the order that they are to have.
        rows: Those of ``event_row``, when they were made while another transaction was being written.
        known: People who need not be stored, unless somebody else has written to the shop since.

    Raises:
        NotFound: The shop does not exist.
    """
    revision = await lock_revision(connection=connection, shop=shop)
    named = People.of(events)
    deleted = await find_deleted(connection=connection, shop=shop, named=named)
    if rows is None:
        rows = [event_row(shop, event) for event in events]
    targets: Targets = {}
    misdirected: AbstractSet[int] = frozenset()
    if any(event.reversed_event_id for event in events):
        targets, misdirected = await find_targets(connection=connection, shop=shop, events=events)
    # Nearly always all of them are new: to ask first which are not would take as long as to store them.
    outcomes = _judge(events, rows, deleted, misdirected, {})
    new = [(*row, revision + 1) for row in _accepted(rows, outcomes)]
    inserted = await insert_rows(connection=connection, table=EVENTS, rows=new, changed=())
    if inserted < len(new) or misdirected:
        stored = await _stored_rows(connection, shop, events, revision)
        outcomes = _judge(events, rows, deleted, misdirected, stored)
    accepted = tuple(_accepted(events, outcomes))
    taken_back: list[Event] = []
    if accepted:
        if targets:
            reversals = [
                (events[place], target)
                for place, target in targets.items()
                if outcomes[place] is Outcome.ACCEPTED
            ]
            taken_back = await take_back(
                connection=connection, shop=shop, reversals=reversals, revision=revision + 1
            )
        links = _links(accepted) if named.visitors else {}
        if known is not None and known.revision == revision:
            named = _unknown(named, known, links)
        if named:
            await _remember(connection, shop, accepted, named, links)
        revision = await advance_revision(connection=connection, shop=shop)
    return Stored(tuple(outcomes), accepted, tuple(taken_back), revision)


async def foresee_events(
    *, connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> list[Outcome]:
    """Return the outcomes that ``store_events`` would have, given what is stored up to a revision."""
    deleted = await find_deleted(connection=connection, shop=shop, named=People.of(events))
    stored = await _stored_rows(connection, shop, events, revision)
    _, misdirected = await find_targets(connection=connection, shop=shop, events=events)
    return _judge(events, [event_row(shop, event) for event in events], deleted, misdirected, stored)


_APART = {"sequence", "properties", "attribution", "revision", "reversed_quantity", "reversed_revision"}
# In the order of ``event_row``, properties as their text.
_ROWS = select(
    *(column for column in EVENTS.c if column.name not in _APART),
    cast(EVENTS.c.properties, String),
    EVENTS.c.attribution,
    EVENTS.c.revision,
)


async def _stored_rows(
    connection: AsyncConnection, shop: str, events: Sequence[Event], revision: int
) -> dict[str, Row]:
    """Return the rows that were stored under the ids of events up to a revision, by event id."""
    stored: dict[str, Row] = {}
    for chunk in in_chunks(list({event.event_id for event in events})):
        query = _ROWS.where(EVENTS.c.shop == shop, is_among(connection, EVENTS.c.event_id, chunk))
        # Not a condition of the query: SQLite would go through all events of these revisions for it.
        rows = (row for *row, of in await connection.execute(query) if of <= revision)
        stored.update((row[_ID], tuple(row)) for row in rows)
    return stored


def _judge(
    events: Sequence[Event],
    rows: Sequence[Row],
    deleted: People,
    misdirected: AbstractSet[int],
    stored: Mapping[str, Row],
) -> list[Outcome]:
    """Return the outcomes of events.

    Args:
        events: The events.
        rows: Their rows.
        deleted: The deleted people.
        misdirected: The places of events that name a wrong event to take back.
        stored: The rows stored under the ids of the events.
    """
    if (
        not deleted
        and not misdirected
        and not stored
        and len({event.event_id for event in events}) == len(events)
    ):
        return [Outcome.ACCEPTED] * len(events)
    known = dict(stored)
    outcomes = []
    for place, (event, row) in enumerate(zip(events, rows, strict=True)):
        if event.user_id in deleted.users or event.visitor_id in deleted.visitors:
            outcomes.append(Outcome.USER_DELETED)
        elif event.event_id not in known and place in misdirected:
            outcomes.append(Outcome.NOTHING_REVERSED)
        elif event.event_id not in known:
            known[event.event_id] = row
            outcomes.append(Outcome.ACCEPTED)
        elif _repeats(event, row, known[event.event_id]):
            outcomes.append(Outcome.DUPLICATE)
        else:
            outcomes.append(Outcome.CONFLICT)
    return outcomes


def _repeats(event: Event, row: Row, stored: Row) -> bool:
    """Say whether an event is the one that is stored, and not another one under its id.

    Its attribution may differ: a login between two calls links a visitor to a user.
    """
    if not event.time_is_given:
        row = (*row[:_TIME], stored[_TIME], *row[_TIME + 1 :])
    # PostgreSQL spells numbers in its own way: 1e23 as an integer of 24 digits, which is another number.
    read = partial(json.loads, parse_int=float)
    if row[:_PROPERTIES] != stored[:_PROPERTIES]:
        return False
    properties, stored_properties = row[_PROPERTIES], stored[_PROPERTIES]
    return bool(properties == stored_properties or read(properties) == read(stored_properties))


def _accepted(values: Sequence[_Value], outcomes: Sequence[Outcome]) -> Iterator[_Value]:
    return (value for value, outcome in zip(values, outcomes, strict=True) if outcome is Outcome.ACCEPTED)


def _unknown(named: People, known: KnownPeople, links: _Links) -> People:
    """Return the people of events that the shop may lack, or whose link to a user it may lack."""
    return People(
        named.users - known.users.keys(),
        (named.visitors - known.visitors.keys()).union(
            visitor for visitor, (user, _) in links.items() if not known.is_linked(visitor, user)
        ),
    )


async def _remember(
    connection: AsyncConnection, shop: str, events: Sequence[Event], named: People, links: _Links
) -> None:
    """Store those people that events name."""
    if named.users:
        # From the last one, so that the first one of somebody counts.
        times = {event.user_id: event.time for event in reversed(events) if event.user_id in named.users}
        await remember_users(connection=connection, shop=shop, created_times=times)
    if named.visitors:
        times = {
            event.visitor_id: event.time for event in reversed(events) if event.visitor_id in named.visitors
        }
        await remember_visitors(connection=connection, shop=shop, created_times=times, links=links)


def _links(events: Sequence[Event]) -> _Links:
    """Return the users that visitors are linked to after events, and when they were, by visitor id."""
    links: _Links = {}
    for event in events:
        if event.visitor_id is not None and event.user_id is not None:
            before = links.get(event.visitor_id)
            if before is None or before[0] != event.user_id:
                links[event.visitor_id] = (event.user_id, event.time)
    return links

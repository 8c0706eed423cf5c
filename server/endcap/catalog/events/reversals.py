"""Reversals: events that take back an earlier event, such as the refund of a purchase.

Each reversal takes back its quantity. An event of which nothing is left stays stored; it leaves histories and
counts at the revision of its last reversal.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.tables import EVENTS
from endcap.catalog.events.events import EVENT_COLUMNS, Event
from endcap.catalog.people.users import find_links


_ROUNDING = 1e-9  # of a quantity: parts of 0.1 and 0.7 sum to less than 0.8

_TARGETS = select(
    *(EVENTS.c[name] for name in EVENT_COLUMNS), EVENTS.c.reversed_revision, EVENTS.c.reversed_quantity
)


@dataclass(frozen=True, slots=True)
class ReversalTarget:
    """An event that others take back."""

    event: Event

    reversed_quantity: float = 0.0
    """The quantity that was taken back before."""


Targets: TypeAlias = Mapping[int, ReversalTarget]
"""The event that each reversal takes back, by the place of the reversal among the events of a call."""


async def find_targets(
    *, connection: AsyncConnection, shop: str, events: Sequence[Event]
) -> tuple[Targets, AbstractSet[int]]:
    """Return the targets of reversals, and the places of the reversals that must not take back theirs.

    A target is stored or precedes its reversal. It has the same person, and the same item if the reversal has
    one, and takes back nothing itself.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        events: The events, with and without reversals among them.
    """
    reversals = {place: event for place, event in enumerate(events) if event.reversed_event_id}
    names = {event.reversed_event_id for event in reversals.values()}
    stored = await _stored_targets(connection, shop, names)
    first = {event.event_id: place for place, event in reversed(list(enumerate(events)))}
    found: dict[int, ReversalTarget] = {}
    for place, reversal in reversals.items():
        name = reversal.reversed_event_id
        if name in stored:
            found[place] = stored[name]
        elif first.get(name, place) < place:
            found[place] = ReversalTarget(events[first[name]])
    acts = [*reversals.values(), *(target.event for target in found.values())]
    links = await _links(connection, shop, acts)
    links |= {each.visitor_id: each.user_id for each in events if each.visitor_id and each.user_id}
    targets = {
        place: target for place, target in found.items() if _takes_back(reversals[place], target.event, links)
    }
    return targets, reversals.keys() - targets.keys()


async def take_back(
    *,
    connection: AsyncConnection,
    shop: str,
    reversals: Sequence[tuple[Event, ReversalTarget]],
    revision: int,
) -> list[Event]:
    """Note what stored reversals take back.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        reversals: The reversals, each with its target.
        revision: The shop's revision that holds the reversals.

    Returns:
        The events of which nothing is left since, each with its ``reversed_revision``.
    """
    totals: dict[str, float] = {}
    events: dict[str, Event] = {}
    for reversal, target in reversals:
        name = target.event.event_id
        totals[name] = totals.get(name, target.reversed_quantity) + reversal.quantity
        events[name] = target.event
    gone = [
        replace(event, reversed_revision=revision)
        for name, event in events.items()
        if event.reversed_revision is None and totals[name] >= event.quantity * (1 - _ROUNDING)
    ]
    of_target = (EVENTS.c.shop == shop, EVENTS.c.event_id == bindparam("target"))
    if totals:
        await connection.execute(
            update(EVENTS).where(*of_target).values(reversed_quantity=bindparam("total")),
            [{"target": name, "total": total} for name, total in totals.items()],
        )
    if gone:
        await connection.execute(
            update(EVENTS).where(*of_target).values(reversed_revision=revision),
            [{"target": event.event_id} for event in gone],
        )
    return gone


async def taken_back_after(
    *, connection: AsyncConnection, shop: str, revision: int, events: Sequence[Event]
) -> list[Event]:
    """Return the events of which nothing is left since a revision.

    Args:
        connection: A connection that reads.
        shop: The shop's id.
        revision: The earlier revision.
        events: All events after the revision.
    """
    named = {event.reversed_event_id for event in events if event.reversed_event_id}
    targets = await _stored_targets(connection, shop, named)
    return [target.event for target in targets.values() if (target.event.reversed_revision or 0) > revision]


async def _stored_targets(
    connection: AsyncConnection, shop: str, event_ids: AbstractSet[str]
) -> dict[str, ReversalTarget]:
    targets: dict[str, ReversalTarget] = {}
    for chunk in in_chunks(list(event_ids)):
        query = _TARGETS.where(EVENTS.c.shop == shop, is_among(connection, EVENTS.c.event_id, chunk))
        for *values, reversed_revision, quantity in await connection.execute(query):
            event = Event(
                **dict(zip(EVENT_COLUMNS, values, strict=True)), reversed_revision=reversed_revision
            )
            targets[event.event_id] = ReversalTarget(event, quantity)
    return targets


async def _links(connection: AsyncConnection, shop: str, events: Sequence[Event]) -> dict[str, str]:
    """Return the users of the visitors in events without a user."""
    visitors = {
        event.visitor_id for event in events if event.user_id is None and event.visitor_id is not None
    }
    links: dict[str, str] = {}
    for chunk in in_chunks(list(visitors)):
        links.update(await find_links(connection=connection, shop=shop, user_ids=(), visitor_ids=chunk))
    return links


def _takes_back(reversal: Event, target: Event, links: Mapping[str, str]) -> bool:
    """Return whether a reversal may take back a target, given the users of visitors."""
    return (
        not target.reversed_event_id
        and reversal.item_id in {"", target.item_id}
        and _person(reversal, links) == _person(target, links)
    )


def _person(event: Event, links: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the user of an event, or else its visitor."""
    user_id = event.user_id or links.get(event.visitor_id or "")
    return (user_id, None) if user_id else (None, event.visitor_id)

"""Counting a shop's data in the database; only the counts are loaded."""

from collections.abc import Sequence

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.tables import EVENTS, ITEMS, USERS, VISITORS
from endcap.catalog.events.events import COUNTS
from endcap.catalog.reports.readiness import DAY, JUDGED_DAYS, Counts
from endcap.sdk.positives import trusted_types


async def count_shop(*, connection: AsyncConnection, shop: str) -> Counts:
    """Return the counts of a shop. Reads every event several times: a minute for ten million events.

    Events without an item, events that take back another, and those that are taken back do not count.
    """
    types = (
        select(EVENTS.c.type, func.count(), func.min(EVENTS.c.time), func.max(EVENTS.c.time))
        .where(EVENTS.c.shop == shop, COUNTS)
        .group_by(EVENTS.c.type)
    )
    by_type = {row[0]: row[1:] for row in await connection.execute(types)}
    last_time = max((last for _, _, last in by_type.values()), default=None)
    about = await get_shop(connection=connection, shop=shop)
    trusted = trusted_types({name: row[0] for name, row in by_type.items()}, about.event_weights)
    learned = tuple(name for name in trusted if about.event_weights[name] > 0)
    items, described = await _row(connection, _items(shop))
    unknown_events, unknown_items = await _row(connection, _unknown(shop))
    choosers, pairs, returning, judged = await _row(
        connection, _choosers(shop, learned, (last_time or 0) - JUDGED_DAYS * DAY)
    )
    (repeated,) = await _row(connection, _repeated(shop))
    (chosen,) = await _row(connection, _chosen(shop, learned))
    (users,) = await _row(connection, select(func.count()).where(USERS.c.shop == shop))
    visitors_alone = (VISITORS.c.shop == shop) & VISITORS.c.user_id.is_(None)
    (visitors,) = await _row(connection, select(func.count()).where(visitors_alone))
    return Counts(
        items=items,
        described_items=described,
        users=users,
        visitors=visitors,
        events={name: count for name, (count, _, _) in by_type.items()},
        first_time=min((first for _, first, _ in by_type.values()), default=None),
        last_time=last_time,
        repeated_events=repeated,
        unknown_events=unknown_events,
        unknown_items=unknown_items,
        positives=sum(by_type[name][0] for name in learned),
        chosen_pairs=pairs,
        chosen_items=chosen,
        choosers=choosers,
        returning=returning,
        judged=judged,
    )


async def _row(connection: AsyncConnection, query: Select[*tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(int(count or 0) for count in (await connection.execute(query)).one())


def _items(shop: str) -> Select[*tuple[int, ...]]:
    described = or_(
        ITEMS.c.description != "", ITEMS.c.brand != "", ITEMS.c.categories != [], ITEMS.c.tags != []
    )
    return select(func.count(), func.count().filter(described)).where(
        ITEMS.c.shop == shop, ITEMS.c.deleted.is_(False)
    )


def _unknown(shop: str) -> Select[*tuple[int, ...]]:
    return (
        select(func.count(), func.count(EVENTS.c.item_id.distinct()))
        .select_from(EVENTS.outerjoin(ITEMS, _item_of_event))
        .where(EVENTS.c.shop == shop, COUNTS, ITEMS.c.id.is_(None))
    )


def _repeated(shop: str) -> Select[*tuple[int, ...]]:
    alike = (
        select(func.count().label("copies"))
        .where(EVENTS.c.shop == shop, COUNTS)
        .group_by(EVENTS.c.user_id, EVENTS.c.visitor_id, EVENTS.c.item_id, EVENTS.c.type, EVENTS.c.time)
        .having(func.count() > 1)
        .subquery()
    )
    return select(func.sum(alike.c.copies - 1))


def _chosen(shop: str, learned: Sequence[str]) -> Select[*tuple[int, ...]]:
    return (
        select(func.count(EVENTS.c.item_id.distinct()))
        .select_from(EVENTS.join(ITEMS, _item_of_event))
        .where(EVENTS.c.shop == shop, COUNTS, EVENTS.c.type.in_(learned))
    )


def _choosers(shop: str, learned: Sequence[str], start: int) -> Select[*tuple[int, ...]]:
    """Count choosers, their pairs, choosers of two items or more, and choosers before and after ``start``."""
    who = func.coalesce(EVENTS.c.user_id, VISITORS.c.user_id, EVENTS.c.visitor_id)
    pairs = (
        select(
            who.label("who"),
            func.min(EVENTS.c.time).label("first"),
            func.max(EVENTS.c.time).label("last"),
        )
        .select_from(EVENTS.join(ITEMS, _item_of_event).outerjoin(VISITORS, _visitor_of_event))
        .where(EVENTS.c.shop == shop, COUNTS, EVENTS.c.type.in_(learned))
        .group_by(who, EVENTS.c.item_id)
        .subquery()
    )
    people = (
        select(
            func.count().label("chosen"),
            func.min(pairs.c.first).label("first"),
            func.max(pairs.c.last).label("last"),
        )
        .group_by(pairs.c.who)
        .subquery()
    )
    return select(
        func.count(),
        func.sum(people.c.chosen),
        func.count().filter(people.c.chosen >= 2),
        func.count().filter(people.c.first < start, people.c.last >= start),
    ).select_from(people)


_item_of_event = and_(ITEMS.c.shop == EVENTS.c.shop, ITEMS.c.id == EVENTS.c.item_id)
_visitor_of_event = and_(VISITORS.c.shop == EVENTS.c.shop, VISITORS.c.id == EVENTS.c.visitor_id)

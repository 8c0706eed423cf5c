"""Forgetting: one transaction deletes every trace of a user, and tombstones keep new traces out.

It deletes the record, the key of the pseudonym, the linked visitors, and the events and exposures of the user
and of these visitors. Events of another user on a device that is now linked to the user stay with the other
user but lose the device's id. A tombstone for each id, a keyed hash, rejects late events and exposures.

Deleted rows remain in the database's files until ``erase_forgotten`` succeeds, which readers can delay.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

from sqlalchemy import Column, delete, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.database.tables import EVENTS, EXPOSURES, SHOPS, TOMBSTONES, USER_RECORDS, USERS, VISITORS
from endcap.catalog.people.deleted_people import DeletedPeople, People, put_back, remember_deleted
from endcap.sdk.errors import NotFound


_Value = TypeVar("_Value", int, str)

_TABLES = (USER_RECORDS, USERS, VISITORS, EVENTS, EXPOSURES)  # the tables that name people


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The people who were forgotten."""

    people: People
    """The users and visitors, to be removed from memory too."""

    event_count: int
    exposure_count: int

    revision: int
    """The shop's revision after the deletion."""


@dataclass(slots=True)
class _Events:
    """Events that carry an id of the people to forget, by sequence."""

    own: set[int] = field(default_factory=set)

    of_others: set[int] = field(default_factory=set)
    """Events of other users that carry the id of a visitor to forget."""


async def forget_user(
    database: Database, shop: str, named: People, *, allow_missing: bool = False
) -> Forgotten:
    """Remove every trace of users, and of the visitors linked to them.

    Args:
        database: The database.
        shop: The shop's id.
        named: The users and visitors; a linked visitor is forgotten together with its user.
        allow_missing: Whether a user without a trace counts as removed; late events are rejected anyway.

    Raises:
        NotFound: The user has no trace, or the shop does not exist.
    """
    found = _Events()
    # Events have no index by person, since every event would pay for it. All events are scanned before the
    # transaction that keeps others from writing.
    async with database.read() as connection:
        searched = (await get_shop(connection=connection, shop=shop)).revision
        expected = await _with_links(connection, shop, named)
        await _find_events(connection, shop, expected, found, after=0)
    async with database.write() as connection:
        # The strongest lock: events and exposures are stored before it, or meet the tombstones.
        await connection.execute(select(SHOPS.c.id).where(SHOPS.c.id == shop).with_for_update())
        people = await _with_links(connection, shop, named)
        if people != expected:
            searched = 0
        await _find_events(connection, shop, people, found, after=searched)
        return await _forget(connection, shop, people, found, allow_missing=allow_missing)


async def forget_again(database: Database, tombstones: DeletedPeople) -> int:
    """Remove people from a restored shop who were deleted after its backup.

    Their late events are rejected again, unless the shop has another key. Such a shop was created anew in
    between; then only people in the backup can be found.

    Args:
        database: The restored database, which may lack the shop.
        tombstones: The tombstones of the shop before the restore.

    Returns:
        How many users and visitors were removed.
    """
    shop = tombstones.shop
    async with database.write() as connection:
        query = select(SHOPS.c.token_key).where(SHOPS.c.id == shop).with_for_update()
        key = (await connection.execute(query)).scalar()
        if key is None:
            return 0
        if key == tombstones.key:
            await put_back(connection=connection, shop=shop, digests=tombstones.digests)
        named = tombstones.among(await _everybody(connection, shop))
        if not named:
            return 0
        # A visitor's user stays: the visitor may once have been linked to a user who was not deleted.
        people = People(named.users, named.visitors | await _visitors_of(connection, shop, named.users))
        found = _Events()
        await _find_events(connection, shop, people, found, after=0)
        await _forget(connection, shop, people, found, allow_missing=True)
    return len(people.users) + len(people.visitors)


async def erase_forgotten(database: Database) -> bool:
    """Erase remains of forgotten people from the database's files.

    Returns:
        Whether nothing is left. If False, a transaction reads an older state or writes: try again.

    Raises:
        Unavailable: The database does not answer.
    """
    async with database.read() as connection:
        if (await connection.execute(select(TOMBSTONES.c.digest).limit(1))).first() is None:
            return True
    return await database.erase_deleted([table.name for table in _TABLES])


async def _with_links(connection: AsyncConnection, shop: str, named: People) -> People:
    """Return people together with the users of the visitors, and all visitors of the users."""
    linked = select(VISITORS.c.user_id).where(
        VISITORS.c.shop == shop,
        is_among(connection, VISITORS.c.id, list(named.visitors)),
        VISITORS.c.user_id.is_not(None),
    )
    users = named.users.union((await connection.execute(linked)).scalars())
    return People(users, named.visitors | await _visitors_of(connection, shop, users))


async def _visitors_of(connection: AsyncConnection, shop: str, users: frozenset[str]) -> frozenset[str]:
    visitors: set[str] = set()
    for chunk in _chunks(users):
        theirs = select(VISITORS.c.id).where(
            VISITORS.c.shop == shop, is_among(connection, VISITORS.c.user_id, chunk)
        )
        visitors.update((await connection.execute(theirs)).scalars())
    return frozenset(visitors)


async def _everybody(connection: AsyncConnection, shop: str) -> People:
    """Return all users and visitors that any table of a shop names."""

    async def named(*columns: Column[Any]) -> frozenset[str]:
        queries = [select(each).where(each.table.c.shop == shop, each.is_not(None)) for each in columns]
        return frozenset((await connection.execute(union(*queries))).scalars())

    return People(
        await named(USERS.c.id, USER_RECORDS.c.id, VISITORS.c.user_id, EVENTS.c.user_id, EXPOSURES.c.user_id),
        await named(VISITORS.c.id, EVENTS.c.visitor_id, EXPOSURES.c.visitor_id),
    )


async def _find_events(
    connection: AsyncConnection, shop: str, people: People, found: _Events, *, after: int
) -> None:
    for users, visitors in zip_longest(_chunks(people.users), _chunks(people.visitors), fillvalue=()):
        query = select(EVENTS.c.sequence, EVENTS.c.user_id).where(
            EVENTS.c.shop == shop,
            EVENTS.c.revision > after,
            or_(
                is_among(connection, EVENTS.c.user_id, users),
                is_among(connection, EVENTS.c.visitor_id, visitors),
            ),
        )
        for sequence, user_id in await connection.execute(query):
            is_own = user_id is None or user_id in people.users
            (found.own if is_own else found.of_others).add(sequence)


async def _forget(
    connection: AsyncConnection, shop: str, people: People, events: _Events, *, allow_missing: bool
) -> Forgotten:
    rows = 0
    for table, ids in ((USER_RECORDS, people.users), (USERS, people.users), (VISITORS, people.visitors)):
        for chunk in _chunks(ids):
            among = is_among(connection, table.c.id, chunk)
            rows += (await connection.execute(delete(table).where(table.c.shop == shop, among))).rowcount
    for own in _chunks(events.own):
        await connection.execute(delete(EVENTS).where(is_among(connection, EVENTS.c.sequence, own)))
    for of_others in _chunks(events.of_others):
        among = is_among(connection, EVENTS.c.sequence, of_others)
        await connection.execute(update(EVENTS).where(among).values(visitor_id=None))
    exposures = await _forget_exposures(connection, shop, people)
    if not (rows or events.own or events.of_others or exposures or allow_missing):
        raise NotFound(
            "this user is unknown; set allow_missing to reject late events of the user all the same"
        )
    await remember_deleted(connection=connection, shop=shop, people=people)
    revision = await advance_revision(connection=connection, shop=shop)
    return Forgotten(people, len(events.own), exposures, revision)


async def _forget_exposures(connection: AsyncConnection, shop: str, people: People) -> int:
    """Delete the exposures of people, and return their number."""
    of_shop = EXPOSURES.c.shop == shop
    count = 0
    for users in _chunks(people.users):
        by_user = is_among(connection, EXPOSURES.c.user_id, users)
        count += (await connection.execute(delete(EXPOSURES).where(of_shop, by_user))).rowcount
    for visitors in _chunks(people.visitors):
        by_visitor = is_among(connection, EXPOSURES.c.visitor_id, visitors)
        own = EXPOSURES.c.user_id.is_(None)
        count += (await connection.execute(delete(EXPOSURES).where(of_shop, by_visitor, own))).rowcount
        await connection.execute(update(EXPOSURES).where(of_shop, by_visitor).values(visitor_id=None))
    return count


def _chunks(values: Iterable[_Value]) -> Iterator[Sequence[_Value]]:
    return in_chunks(sorted(values))

"""Tombstones of deleted people, which keep their data from being stored again.

A tombstone is a keyed hash of an id. It does not contain the id, and testing an id requires the shop's key.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from sqlalchemy import bindparam, exists, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import insert_rows
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.tables import SHOPS, TOMBSTONES


_DIGEST_BYTES = 16

# Most shops have no tombstones; they need only this query and no hashes.
_KEY_OF_TOMBSTONES = select(SHOPS.c.token_key).where(
    SHOPS.c.id == bindparam("shop_id"),
    exists(select(TOMBSTONES.c.digest).where(TOMBSTONES.c.shop == SHOPS.c.id)),
)


class _Act(Protocol):
    """An event or exposure, which names a user, a visitor or both."""

    @property
    def user_id(self) -> str | None: ...

    @property
    def visitor_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class People:
    """Some users and visitors, by their ids."""

    users: frozenset[str] = frozenset()
    visitors: frozenset[str] = frozenset()

    @classmethod
    def of(cls, acts: Sequence[_Act]) -> Self:
        """Return the people named by acts."""
        return cls(
            frozenset(act.user_id for act in acts if act.user_id is not None),
            frozenset(act.visitor_id for act in acts if act.visitor_id is not None),
        )

    def __bool__(self) -> bool:
        return bool(self.users or self.visitors)


@dataclass(frozen=True, slots=True)
class DeletedPeople:
    """The tombstones of a shop, with the key of their hashes."""

    shop: str
    key: bytes
    digests: frozenset[bytes]

    def among(self, people: People) -> People:
        """Return the deleted ones among some people."""
        return People(
            frozenset(each for each in people.users if _digest(self.key, "user", each) in self.digests),
            frozenset(each for each in people.visitors if _digest(self.key, "visitor", each) in self.digests),
        )


async def read_deleted_people(connection: AsyncConnection) -> list[DeletedPeople]:
    """Return the tombstones of every shop that has any; empty if the schema has no table of them."""
    if not await connection.run_sync(lambda each: inspect(each).has_table(TOMBSTONES.name)):
        return []
    query = select(SHOPS.c.id, SHOPS.c.token_key, TOMBSTONES.c.digest).join_from(SHOPS, TOMBSTONES)
    digests: dict[tuple[str, bytes], set[bytes]] = {}
    for shop, key, digest in await connection.execute(query):
        digests.setdefault((shop, key), set()).add(digest)
    return [DeletedPeople(shop, key, frozenset(each)) for (shop, key), each in digests.items()]


async def find_deleted(*, connection: AsyncConnection, shop: str, named: People) -> People:
    """Return the deleted ones among some people."""
    key = (await connection.execute(_KEY_OF_TOMBSTONES, {"shop_id": shop})).scalar()
    if key is None:
        return People()
    user_digests = {_digest(key, "user", user_id): user_id for user_id in named.users}
    visitor_digests = {_digest(key, "visitor", visitor_id): visitor_id for visitor_id in named.visitors}
    found = await _stored(connection, shop, [*user_digests, *visitor_digests])
    return People(
        frozenset(user_id for digest, user_id in user_digests.items() if digest in found),
        frozenset(visitor_id for digest, visitor_id in visitor_digests.items() if digest in found),
    )


async def remember_deleted(*, connection: AsyncConnection, shop: str, people: People) -> None:
    """Store tombstones of people, so that they are not stored again.

    Args:
        connection: A connection that writes.
        shop: The id of a shop that exists.
        people: The deleted users and visitors.
    """
    key = (await connection.execute(select(SHOPS.c.token_key).where(SHOPS.c.id == shop))).scalar_one()
    digests = [_digest(key, "user", user_id) for user_id in people.users]
    digests += [_digest(key, "visitor", visitor_id) for visitor_id in people.visitors]
    await put_back(connection=connection, shop=shop, digests=digests)


async def put_back(*, connection: AsyncConnection, shop: str, digests: Iterable[bytes]) -> None:
    """Store tombstones that were made with the shop's key; existing ones are kept.

    Args:
        connection: A connection that writes.
        shop: The id of a shop that exists.
        digests: The keyed hashes.
    """
    rows = [(shop, digest) for digest in digests]
    await insert_rows(connection=connection, table=TOMBSTONES, rows=rows, changed=())


async def _stored(connection: AsyncConnection, shop: str, digests: list[bytes]) -> set[bytes]:
    stored: set[bytes] = set()
    for chunk in in_chunks(digests):
        among = is_among(connection, TOMBSTONES.c.digest, chunk)
        query = select(TOMBSTONES.c.digest).where(TOMBSTONES.c.shop == shop, among)
        stored.update((await connection.execute(query)).scalars())
    return stored


def _digest(key: bytes, kind: str, identifier: str) -> bytes:
    return hashlib.blake2b(
        identifier.encode(), key=key, person=kind.encode(), digest_size=_DIGEST_BYTES
    ).digest()

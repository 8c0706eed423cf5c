"""Users and visitors: their ids, their links, and their pseudonyms in snapshots."""

import hashlib
import secrets
from collections.abc import Collection, Mapping

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import insert_rows
from endcap.catalog.database.membership import is_among
from endcap.catalog.database.tables import USERS, VISITORS


_KEY_BYTES = 16


async def remember_users(*, connection: AsyncConnection, shop: str, created_times: Mapping[str, int]) -> None:
    """Create the users that the shop does not know, each with its own pseudonym key.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        created_times: Creation times in Unix milliseconds, by user id.
    """
    keys = _new_keys(len(created_times))
    rows = [
        (shop, user_id, created_time, key)
        for (user_id, created_time), key in zip(created_times.items(), keys, strict=True)
    ]
    await insert_rows(connection=connection, table=USERS, rows=rows, changed=())


async def remember_visitors(
    *,
    connection: AsyncConnection,
    shop: str,
    created_times: Mapping[str, int],
    links: Mapping[str, tuple[str, int]],
) -> None:
    """Create the visitors that the shop does not know, and link visitors to users.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        created_times: Creation times in Unix milliseconds, by visitor id.
        links: User id and time of the link in Unix milliseconds, by visitor id; a new link replaces the old.
    """
    keys = _new_keys(len(created_times))
    rows = []
    for (visitor_id, created_time), key in zip(created_times.items(), keys, strict=True):
        user_id, linked_time = links.get(visitor_id, (None, None))
        rows.append((shop, visitor_id, user_id, created_time, key, linked_time))
    linked = [row for row in rows if row[1] in links]
    anonymous = [row for row in rows if row[1] not in links]
    await insert_rows(connection=connection, table=VISITORS, rows=linked, changed=("user_id", "linked_time"))
    await insert_rows(connection=connection, table=VISITORS, rows=anonymous, changed=())


async def find_links(
    *, connection: AsyncConnection, shop: str, user_ids: Collection[str], visitor_ids: Collection[str]
) -> list[tuple[str, str]]:
    """Return the links of some users and of some visitors, as pairs of visitor id and user id.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        user_ids: Users whose links to return; at most 10,000.
        visitor_ids: Visitors whose links to return; at most 10,000.
    """
    query = select(VISITORS.c.id, VISITORS.c.user_id).where(
        VISITORS.c.shop == shop,
        VISITORS.c.user_id.is_not(None),
        or_(
            is_among(connection, VISITORS.c.user_id, list(user_ids)),
            is_among(connection, VISITORS.c.id, list(visitor_ids)),
        ),
    )
    return [(visitor_id, user_id) for visitor_id, user_id in await connection.execute(query)]


async def count_users(*, connection: AsyncConnection, shop: str) -> int:
    """Return the number of users of a shop, without visitors."""
    query = select(func.count()).select_from(USERS).where(USERS.c.shop == shop)
    count: int = (await connection.execute(query)).scalar_one()
    return count


async def list_user_ids(*, connection: AsyncConnection, shop: str, limit: int, after: str = "") -> list[str]:
    """Return a page of user ids, in ascending order.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        limit: The largest number to return.
        after: The last id of the previous page; empty for the first page.
    """
    query = (
        select(USERS.c.id).where(USERS.c.shop == shop, USERS.c.id > after).order_by(USERS.c.id).limit(limit)
    )
    return list((await connection.execute(query)).scalars())


def pseudonym(identifier: str, key: bytes) -> str:
    """Return the name that a user or visitor has in snapshots: nobody without the key can link the two."""
    return hashlib.blake2b(identifier.encode(), key=key, digest_size=16).hexdigest()


def _new_keys(count: int) -> list[bytes]:
    randomness = secrets.token_bytes(count * _KEY_BYTES)  # one system call for all keys
    return [randomness[start : start + _KEY_BYTES] for start in range(0, len(randomness), _KEY_BYTES)]

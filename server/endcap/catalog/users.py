"""Users and visitors: who they are to the shop, and their pseudonyms outside of it."""

import hashlib
import secrets
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.tables import USERS, VISITORS
from endcap.catalog.upserting import insert_missing, upsert


_KEY_BYTES = 16


async def remember_users(*, connection: AsyncConnection, shop: str, created_times: Mapping[str, int]) -> None:
    """Create the users that the shop does not know, each with a pseudonym key of its own.

    Args:
        connection: One that writes.
        shop: The shop's id.
        created_times: Unix milliseconds by user id.
    """
    values = [
        {
            "shop": shop,
            "id": user_id,
            "created_time": created_time,
            "pseudonym_key": secrets.token_bytes(_KEY_BYTES),
        }
        for user_id, created_time in created_times.items()
    ]
    await insert_missing(connection=connection, table=USERS, values=values)


async def remember_visitors(
    *,
    connection: AsyncConnection,
    shop: str,
    created_times: Mapping[str, int],
    links: Mapping[str, str],
) -> None:
    """Create the visitors that the shop does not know, and link visitors to users.

    Args:
        connection: One that writes.
        shop: The shop's id.
        created_times: Unix milliseconds by visitor id.
        links: User ids by visitor id, all of them in ``created_times``; a new link replaces the old one.
    """
    values = [
        {
            "shop": shop,
            "id": visitor_id,
            "user_id": links.get(visitor_id),
            "created_time": created_time,
            "pseudonym_key": secrets.token_bytes(_KEY_BYTES),
        }
        for visitor_id, created_time in created_times.items()
    ]
    linked = [visitor for visitor in values if visitor["user_id"] is not None]
    anonymous = [visitor for visitor in values if visitor["user_id"] is None]
    await upsert(connection=connection, table=VISITORS, values=linked, changed=("user_id",))
    await insert_missing(connection=connection, table=VISITORS, values=anonymous)


async def count_users(*, connection: AsyncConnection, shop: str) -> int:
    """Return how many users a shop has; visitors are not among them."""
    query = select(func.count()).select_from(USERS).where(USERS.c.shop == shop)
    count: int = (await connection.execute(query)).scalar_one()
    return count


async def list_user_ids(*, connection: AsyncConnection, shop: str, limit: int, after: str = "") -> list[str]:
    """Return a page of user ids, in order.

    Args:
        connection: Any.
        shop: The shop's id.
        limit: How many at most.
        after: The last id of the page before; empty for the first page.
    """
    query = (
        select(USERS.c.id).where(USERS.c.shop == shop, USERS.c.id > after).order_by(USERS.c.id).limit(limit)
    )
    return list((await connection.execute(query)).scalars())


def pseudonym(identifier: str, key: bytes) -> str:
    """Return the name that a user or visitor has in snapshots: nobody without the key can link the two."""
    return hashlib.blake2b(identifier.encode(), key=key, digest_size=16).hexdigest()

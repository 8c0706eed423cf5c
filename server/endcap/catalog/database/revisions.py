"""The revision of a shop: a number that every write to what is served counts up.

Whoever writes holds the shop's row until the commit, so revisions appear in their order, and a process
that has seen revision ``n`` needs only the rows of later ones.
"""

from sqlalchemy import Table, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import SHOPS
from endcap.sdk.errors import Conflict, NotFound


JUMP = 1_000_000
"""A restore sets revisions on by this much, which is more than is written meanwhile."""

# Built once: every write of an event runs them.
_OF_SHOP = SHOPS.c.id == bindparam("shop_id")
# The weaker of PostgreSQL's locks for it: rows that only refer to the shop are written meanwhile.
_LOCKED = select(SHOPS.c.revision).where(_OF_SHOP).with_for_update(key_share=True)
_ADVANCED = update(SHOPS).where(_OF_SHOP).values(revision=SHOPS.c.revision + 1).returning(SHOPS.c.revision)


async def lock_revision(*, connection: AsyncConnection, shop: str) -> int:
    """Return the revision of a shop and let nobody else advance it before this transaction ends.

    Raises:
        NotFound: The shop does not exist.
    """
    return _existing(shop, (await connection.execute(_LOCKED, {"shop_id": shop})).scalar())


async def advance_revision(*, connection: AsyncConnection, shop: str) -> int:
    """Count the revision of a shop up and return it.

    Raises:
        NotFound: The shop does not exist.
    """
    return _existing(shop, (await connection.execute(_ADVANCED, {"shop_id": shop})).scalar())


async def jump_past(*, connection: AsyncConnection, shop: str, revision: int) -> None:
    """Set a shop's revision so far past its own and another that nobody takes what follows for news of it.

    Processes that hold any revision up to about that one miss what lies between, and load the shop again.
    """
    newest = case((SHOPS.c.revision > revision, SHOPS.c.revision), else_=revision)
    await connection.execute(update(SHOPS).where(_OF_SHOP).values(revision=newest + JUMP), {"shop_id": shop})


async def read_revisions(connection: AsyncConnection) -> dict[str, int]:
    """Return the revision of every shop."""
    rows = await connection.execute(select(SHOPS.c.id, SHOPS.c.revision))
    return {row.id: row.revision for row in rows}


async def revisions_after(*, connection: AsyncConnection, table: Table, shop: str, revision: int) -> set[int]:
    """Return the later revisions that rows of a table name."""
    query = select(table.c.revision).where(table.c.shop == shop, table.c.revision > revision)
    return set((await connection.execute(query)).scalars())


def _existing(shop: str, revision: int | None) -> int:
    if revision is None:
        raise NotFound(f"shop {shop!r} does not exist: create it with 'endcap shops create'")
    return revision


def check_etag(stored: str | None, etag: str) -> None:
    """Refuse to change an object that is not in the state its writer has read.

    Args:
        stored: Names the object's state; None where the object does not exist.
        etag: Names the state that the writer has read; empty to change any.

    Raises:
        Conflict: The object is in another state.
    """
    if etag and etag != stored:
        raise Conflict("the etag is not the current one: somebody else has changed this, read it again")

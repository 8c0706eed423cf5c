"""The revision of a shop: a number that every write to the served content increments.

A writer holds the shop's row until the commit, so revisions become visible in order, and a process that has
seen revision ``n`` needs only the rows of later revisions.
"""

from sqlalchemy import Table, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import SHOPS
from endcap.sdk.errors import Conflict, NotFound


JUMP = 1_000_000
"""The step by which a restore advances revisions, more than any number of writes meanwhile."""

# Built once: every write of an event runs them.
_OF_SHOP = SHOPS.c.id == bindparam("shop_id")
# PostgreSQL's weaker lock, so that rows that only refer to the shop can be written meanwhile.
_LOCKED = select(SHOPS.c.revision).where(_OF_SHOP).with_for_update(key_share=True)
_ADVANCED = update(SHOPS).where(_OF_SHOP).values(revision=SHOPS.c.revision + 1).returning(SHOPS.c.revision)


async def lock_revision(*, connection: AsyncConnection, shop: str) -> int:
    """Return the revision of a shop, and lock it until this transaction ends.

    Raises:
        NotFound: The shop does not exist.
    """
    return _existing(shop, (await connection.execute(_LOCKED, {"shop_id": shop})).scalar())


async def advance_revision(*, connection: AsyncConnection, shop: str) -> int:
    """Increment the revision of a shop and return it.

    Raises:
        NotFound: The shop does not exist.
    """
    return _existing(shop, (await connection.execute(_ADVANCED, {"shop_id": shop})).scalar())


async def jump_past(*, connection: AsyncConnection, shop: str, revision: int) -> None:
    """Set a shop's revision far past its own and another revision.

    Processes that hold an earlier revision then cannot account for the revisions between, and load the shop
    again.
    """
    newest = case((SHOPS.c.revision > revision, SHOPS.c.revision), else_=revision)
    await connection.execute(update(SHOPS).where(_OF_SHOP).values(revision=newest + JUMP), {"shop_id": shop})


async def read_revisions(connection: AsyncConnection) -> dict[str, int]:
    """Return the revision of every shop."""
    rows = await connection.execute(select(SHOPS.c.id, SHOPS.c.revision))
    return {row.id: row.revision for row in rows}


async def revisions_after(*, connection: AsyncConnection, table: Table, shop: str, revision: int) -> set[int]:
    """Return the later revisions that occur in a table."""
    query = select(table.c.revision).where(table.c.shop == shop, table.c.revision > revision)
    return set((await connection.execute(query)).scalars())


def _existing(shop: str, revision: int | None) -> int:
    if revision is None:
        raise NotFound(f"shop {shop!r} does not exist: create it with 'endcap shops create'")
    return revision


def check_etag(stored: str | None, etag: str) -> None:
    """Reject a write to an object that has changed since its writer read it.

    Args:
        stored: The etag of the stored object; None if the object does not exist.
        etag: The etag that the writer has read; empty to overwrite any state.

    Raises:
        Conflict: The object has another etag, or does not exist.
    """
    if etag and etag != stored:
        raise Conflict("the etag is not current: somebody else has changed this object, read it again")

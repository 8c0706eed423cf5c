"""Deleting users: out of the database, and out of the memory of this process."""

from endcap.catalog.database.engine import Database
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import Forgotten, forget_user
from endcap.server.admin.caller import Caller
from endcap.server.serving.shops import Shops


async def delete_user(
    database: Database, shops: Shops, caller: Caller, named: People, *, allow_missing: bool = False
) -> Forgotten:
    """Remove every trace of users, and of the visitors linked to them.

    Args:
        database: Where they are stored.
        shops: What this process serves.
        caller: Who deletes them.
        named: The users; visitors among them go together with the users that they are linked to.
        allow_missing: Whether an unknown person counts as removed; their late events are rejected.

    Raises:
        NotFound: The user has no trace, or the shop does not exist.
    """
    shop = shops.get(caller.shop)
    forgotten = await forget_user(database, shop.id, named, allow_missing=allow_missing)
    await shops.forget(shop, forgotten)
    return forgotten

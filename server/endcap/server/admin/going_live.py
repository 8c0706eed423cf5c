"""From stored to served: how a use case brings what it stored into the answers of this process."""

from endcap.server.admin.caller import Caller
from endcap.server.serving.shops import Shops


async def go_live(shops: Shops, caller: Caller, revision: int) -> int:
    """Serve the bundles and placements that were stored, and return the revision that holds them.

    The caller waits for at most half of the time left; the next refresh brings what is missing by then.

    Args:
        shops: What this process serves.
        caller: The caller who stored the change.
        revision: The shop's revision that holds the change; 0 if nothing was stored.

    Raises:
        NotFound: The shop does not exist.
    """
    shop = shops.get(caller.shop)
    if revision > shop.revision:
        await shops.reach(shop, revision, caller.deadline)
    return revision or shop.revision

"""Lists of items by a filter, evaluated as in answers: by the mask over the shop's view."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.items.items import Item, get_items, list_items
from endcap.sdk import Vocabulary
from endcap.sdk.filters import parse_filter
from endcap.server.admin.caller import Caller
from endcap.server.serving.shops import Shops


async def list_matching_items(
    shops: Shops, database: Database, caller: Caller, *, filter_text: str, limit: int, after: str
) -> list[Item]:
    """Return a page of the items that meet a filter, in the order of their ids, as they are stored.

    The page includes items that any process wrote before the call: the view takes them in first, if half
    of the caller's time is enough for that.

    Args:
        shops: What this process serves.
        database: Where the items are stored.
        caller: Who asks.
        filter_text: The filter; a blank one is met by every item.
        limit: The most items to return.
        after: The last id of the page before; empty for the first page.

    Raises:
        InvalidInput: The filter does not parse, or the items' fields cannot answer it.
        Exhausted: Too many filters are being worked out.
        NotFound: The shop does not exist.
    """
    if not filter_text.strip():
        async with database.read() as connection:
            return await list_items(connection=connection, shop=caller.shop, limit=limit, after=after)
    condition, shop = parse_filter(filter_text), shops.get(caller.shop)
    async with database.read() as connection:
        revision = (await get_shop(connection=connection, shop=shop.id)).revision
    await shops.reach(shop, revision, caller.deadline)
    view, masks = shop.state.view, shop.state.masks
    await masks.prepare([condition])
    ids = await asyncio.to_thread(_ids_after, view.vocabulary, masks.of(condition), after)
    found: list[Item] = []
    async with database.read() as connection:
        while ids and len(found) < limit:  # the view may hold items that were deleted since
            page, ids = ids[:limit], ids[limit:]
            items = await get_items(connection=connection, shop=shop.id, item_ids=page)
            found += [items[item_id] for item_id in page if item_id in items]
    return found[:limit]


def _ids_after(vocabulary: Vocabulary, mask: NDArray[np.bool_], after: str) -> list[str]:
    ids = vocabulary.ids
    return sorted(item_id for row in np.flatnonzero(mask).tolist() if (item_id := ids[row]) > after)

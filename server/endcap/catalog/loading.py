"""Loading a shop into memory: its view and its histories."""

import asyncio
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.histories import Histories
from endcap.catalog.items import Availability
from endcap.catalog.shops import Shop, get_shop
from endcap.catalog.tables import EVENTS, ITEMS, VISITORS
from endcap.sdk.catalog_view import CatalogView, ItemColumns, build_view
from endcap.sdk.vocabulary import Vocabulary


_PARTITION = 10_000  # rows between two turns of the event loop


@dataclass(frozen=True, slots=True)
class LoadedShop:
    """A shop at one revision. The histories are in rows of the view."""

    view: CatalogView
    histories: Histories
    revision: int


@dataclass(frozen=True, slots=True)
class _Offer:
    """What decides whether an item can be shown, as columns."""

    availability: list[str]
    deleted: list[bool]
    available_times: list[int | None]
    expire_times: list[int | None]


async def load_shop(database: Database, shop: str, *, as_of: int | None = None) -> LoadedShop:
    """Load a shop.

    Args:
        database: Where it is.
        shop: Its id.
        as_of: Unix milliseconds of the view; None for the time of the newest event, which is right for a
            shop whose events stopped some time ago.

    Raises:
        NotFound: There is no such shop.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
        items, offer = await _items(connection, about)
        histories = await _histories(connection, shop, Vocabulary(items.ids))
    view = await asyncio.to_thread(_view, about, items, offer, histories, as_of)
    return LoadedShop(view, histories, about.revision)


async def _items(connection: AsyncConnection, shop: Shop) -> tuple[ItemColumns, _Offer]:
    query = (
        select(
            ITEMS.c.id,
            ITEMS.c.title,
            ITEMS.c.categories,
            ITEMS.c.price_nanos,
            ITEMS.c.currency,
            ITEMS.c.created_time,
            ITEMS.c.availability,
            ITEMS.c.deleted,
            ITEMS.c.available_time,
            ITEMS.c.expire_time,
        )
        .where(ITEMS.c.shop == shop.id)
        .order_by(ITEMS.c.position)
    )

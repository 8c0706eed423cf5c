"""Loading a shop into memory: its view and its histories."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.histories import Histories
from endcap.catalog.item_changes import ItemRow, select_items
from endcap.catalog.median import medians
from endcap.catalog.money import NANOS
from endcap.catalog.schedules import Schedule
from endcap.catalog.shops import Shop, get_shop
from endcap.catalog.tables import EVENTS, VISITORS
from endcap.catalog.view_updates import Stock, item_columns, stock_at, view_version
from endcap.sdk.catalog_view import CatalogView, build_view
from endcap.sdk.vocabulary import UNKNOWN, Vocabulary


_PARTITION = 10_000  # rows between two turns of the event loop


@dataclass(frozen=True, slots=True)
class LoadedShop:
    """A shop at one revision. The histories are in rows of the view."""

    shop: Shop
    stock: Stock
    histories: Histories

    @property
    def view(self) -> CatalogView:
        """The view of the items."""
        return self.stock.view


async def load_shop(database: Database, shop: str, *, now: int) -> LoadedShop:
    """Load a shop as one transaction sees it.

    The view counts ages back from the newest event, so that a shop whose events stopped some time ago still
    has young ones.

    Args:
        database: Where it is.
        shop: Its id.
        now: Unix milliseconds of the moment that says which items can be bought.

    Raises:
        NotFound: There is no such shop.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
        items = (await connection.execute(select_items(shop))).all()
        vocabulary = Vocabulary(item.id for item in items)
        histories = await _histories(connection, shop, vocabulary)
        histories.reach(about.revision)
        paid_prices = await _paid_prices(connection, about, vocabulary)
    stock = await asyncio.to_thread(_stock, about, items, histories, paid_prices, now)
    return LoadedShop(about, stock, histories)


async def _histories(connection: AsyncConnection, shop: str, vocabulary: Vocabulary) -> Histories:
    histories = Histories(vocabulary)
    events = (
        select(EVENTS.c.user_id, EVENTS.c.visitor_id, EVENTS.c.item_id, EVENTS.c.type, EVENTS.c.time)
        .where(EVENTS.c.shop == shop)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    async for partition in (await connection.stream(events)).partitions(_PARTITION):
        histories.extend(tuple(row) for row in partition)
    # The events give the same links, but for those whose events are no longer kept.
    links = select(VISITORS.c.id, VISITORS.c.user_id).where(
        VISITORS.c.shop == shop, VISITORS.c.user_id.is_not(None)
    )
    for visitor_id, user_id in await connection.execute(links):
        histories.link(visitor_id, user_id)
    histories.compact()
    return histories


async def _paid_prices(
    connection: AsyncConnection, shop: Shop, vocabulary: Vocabulary
) -> NDArray[np.float64]:
    """Return the median of what was paid for each item, in the shop's currency."""
    # Grouped in the database: an item has few prices, however often it was bought.
    query = (
        select(EVENTS.c.item_id, EVENTS.c.price_nanos, func.count())
        .where(
            EVENTS.c.shop == shop.id,
            EVENTS.c.type == "purchase",
            EVENTS.c.price_nanos.is_not(None),
            EVENTS.c.currency.in_(("", shop.currency)),
        )
        .group_by(EVENTS.c.item_id, EVENTS.c.price_nanos)
    )
    found = (await connection.execute(query)).all()
    rows = vocabulary.rows(item_id for item_id, _, _ in found)
    prices = np.array([nanos for _, nanos, _ in found], np.float64) / NANOS
    counts = np.array([count for _, _, count in found], np.int64)
    known = rows != UNKNOWN
    return medians(rows[known], prices[known], counts[known], len(vocabulary))


def _stock(
    shop: Shop,
    items: Sequence[ItemRow],
    histories: Histories,
    paid_prices: NDArray[np.float64],
    now: int,
) -> Stock:
    events = histories.event_columns()
    schedule = Schedule.of(items)
    view = build_view(
        item_columns(items, shop, schedule.available(now), paid_prices),
        events,
        version=view_version(shop),
        as_of=int(events.times.max(initial=0)),
        currency=shop.currency,
        event_weights=shop.event_weights,
    )
    return stock_at(view, schedule, now)

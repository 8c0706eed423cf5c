"""Loading a shop into memory: its view and its histories."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shop_settings import EventRole
from endcap.catalog.configuration.shops import ShopRecord, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import EVENTS, VISITORS
from endcap.catalog.events.events import COUNTS, event_value
from endcap.catalog.fields.money import NANOS
from endcap.catalog.items.write_log import select_items
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.median import medians
from endcap.catalog.memory.rows import (
    TimedView,
    item_columns,
    update_timed_view,
    with_counts,
    with_paid_prices,
)
from endcap.catalog.memory.schedules import NEVER, Schedule
from endcap.catalog.memory.user_counts import count_log, sort_events
from endcap.sdk.catalog_view import CatalogView, EventColumns, build_view
from endcap.sdk.vocabulary import UNKNOWN, Vocabulary


_ROWS, _ITEMS = 2_000, 5_000  # rows, and items, held as Python objects at a time


@dataclass(frozen=True, slots=True)
class LoadedShop:
    """A shop at one revision. The histories refer to items by rows of the view."""

    shop: ShopRecord
    timed_view: TimedView
    histories: Histories

    @property
    def view(self) -> CatalogView:
        """The view of the items."""
        return self.timed_view.view


async def load_shop(database: Database, shop: str, *, now: int) -> LoadedShop:
    """Load a shop in one transaction, in a separate thread with a separate connection.

    The view counts ages back from the newest event, so a shop whose events stopped some time ago still has
    recent ones.

    Args:
        database: The database of the shop.
        shop: The shop's id.
        now: Unix milliseconds of the moment of availability.

    Raises:
        NotFound: The shop does not exist.
    """
    return await database.read_elsewhere(partial(_load, shop=shop, now=now))


async def load_paid_prices(database: Database, shop: str, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Return the median paid price of each item, in the shop's currency, read in a separate thread.

    Args:
        database: The database of the shop.
        shop: The shop's id.
        vocabulary: The rows of the shop's items.

    Raises:
        NotFound: The shop does not exist.
    """

    async def load(connection: AsyncConnection) -> NDArray[np.float64]:
        about = await get_shop(connection=connection, shop=shop)
        return await _paid_prices(connection, about, vocabulary)

    return await database.read_elsewhere(load)


async def _load(connection: AsyncConnection, *, shop: str, now: int) -> LoadedShop:
    about = await get_shop(connection=connection, shop=shop)
    nothing = build_view(
        item_columns([], about, np.empty(0, np.bool_)),
        EventColumns.none(),
        version="",
        as_of=0,
        currency=about.currency,
        event_weights=about.event_weights,
    )
    no_counts = count_log(None, Histories(nothing.vocabulary).log())
    timed_view = TimedView(nothing, Schedule.of([]), NEVER, about.revision, no_counts)
    # Piece by piece, for while many rows are Python objects, garbage collections stop all threads for long.
    async for part in (await connection.stream(select_items(shop))).partitions(_ITEMS):
        timed_view = cast(
            "TimedView", update_timed_view(timed_view, about, part, now=now)
        )  # which can tell, where items only come
    histories = await _histories(connection, about, timed_view.view.vocabulary, now)
    timed_view = with_counts(timed_view, shop, count_log(None, histories.log()))
    paid_prices = await _paid_prices(connection, about, timed_view.view.vocabulary)
    return LoadedShop(about, with_paid_prices(timed_view, paid_prices), histories)


async def _histories(
    connection: AsyncConnection, shop: ShopRecord, vocabulary: Vocabulary, now: int
) -> Histories:
    histories = Histories(vocabulary)
    item_id = case((COUNTS, EVENTS.c.item_id), else_="")  # every event links its visitor to its user
    events = (
        select(
            EVENTS.c.user_id,
            EVENTS.c.visitor_id,
            item_id,
            EVENTS.c.type,
            EVENTS.c.time,
            EVENTS.c.quantity,
            EVENTS.c.value,
        )
        .where(EVENTS.c.shop == shop.id)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    async for part in (await connection.stream(events)).partitions(_ROWS):
        histories.load((*event[:5], event_value(event.type, event.quantity, event.value)) for event in part)
    # Events give the same links, except links whose events are no longer kept.
    links = select(VISITORS.c.id, VISITORS.c.user_id).where(
        VISITORS.c.shop == shop.id, VISITORS.c.user_id.is_not(None)
    )
    async for linked in (await connection.stream(links)).partitions(_ROWS):
        for visitor_id, user_id in linked:
            histories.link(visitor_id, user_id)
    histories.reach(shop.revision)
    histories.adopt(sort_events(histories.log(), keep_days=shop.keep_events_days, now=now))
    return histories


async def _paid_prices(
    connection: AsyncConnection, shop: ShopRecord, vocabulary: Vocabulary
) -> NDArray[np.float64]:
    # Grouped in the database: an item has few distinct prices, however often it was bought.
    query = (
        select(EVENTS.c.item_id, EVENTS.c.price_nanos, func.count())
        .where(
            EVENTS.c.shop == shop.id,
            COUNTS,
            EVENTS.c.type.in_(shop.types_of(EventRole.PURCHASE)),
            EVENTS.c.price_nanos.is_not(None),
            EVENTS.c.currency.in_(("", shop.currency)),
        )
        .group_by(EVENTS.c.item_id, EVENTS.c.price_nanos)
    )
    found = [row async for part in (await connection.stream(query)).partitions(_ROWS) for row in part]
    rows = vocabulary.rows(item_id for item_id, _, _ in found)
    prices = np.array([nanos for _, nanos, _ in found], np.float64) / NANOS
    counts = np.array([count for _, _, count in found], np.int64)
    known = rows != UNKNOWN
    return medians(rows[known], prices[known], counts[known], len(vocabulary))

"""Loading a shop into memory: its view and its histories."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.attributes import load_attributes
from endcap.catalog.database import Database
from endcap.catalog.histories import Histories
from endcap.catalog.items import Availability
from endcap.catalog.money import NANOS, to_units
from endcap.catalog.shops import Shop, get_shop
from endcap.catalog.tables import EVENTS, ITEMS, VISITORS
from endcap.sdk.catalog_view import CatalogView, ItemColumns, build_view
from endcap.sdk.median import medians
from endcap.sdk.vocabulary import UNKNOWN, Vocabulary


_Row: TypeAlias = Row[*tuple[Any, ...]]

_PARTITION = 10_000  # rows between two turns of the event loop


@dataclass(frozen=True, slots=True)
class LoadedShop:
    """A shop at one revision. The histories are in rows of the view."""

    shop: Shop
    view: CatalogView
    histories: Histories


async def load_shop(database: Database, shop: str, *, as_of: int | None = None) -> LoadedShop:
    """Load a shop as one transaction sees it.

    Args:
        database: Where it is.
        shop: Its id.
        as_of: Unix milliseconds that the view counts ages back from; None for the time of the newest
            event, so that a shop whose events stopped some time ago still has young ones.

    Raises:
        NotFound: There is no such shop.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
        items = await _items(connection, shop)
        vocabulary = Vocabulary(item.id for item in items)
        histories = await _histories(connection, shop, vocabulary)
        histories.reach(about.revision)
        paid_prices = await _paid_prices(connection, about, vocabulary)
    view = await asyncio.to_thread(_view, about, items, histories, paid_prices, as_of)
    return LoadedShop(about, view, histories)


async def _items(connection: AsyncConnection, shop: str) -> Sequence[_Row]:
    query = (
        select(
            ITEMS.c.id,
            ITEMS.c.title,
            ITEMS.c.description,
            ITEMS.c.categories,
            ITEMS.c.brand,
            ITEMS.c.tags,
            ITEMS.c.attributes,
            ITEMS.c.group_id,
            ITEMS.c.price_nanos,
            ITEMS.c.original_price_nanos,
            ITEMS.c.cost_nanos,
            ITEMS.c.currency,
            ITEMS.c.availability,
            ITEMS.c.available_time,
            ITEMS.c.expire_time,
            ITEMS.c.created_time,
            ITEMS.c.deleted,
        )
        .where(ITEMS.c.shop == shop)
        .order_by(ITEMS.c.position)
    )
    return (await connection.execute(query)).all()


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


def _view(
    shop: Shop,
    items: Sequence[_Row],
    histories: Histories,
    paid_prices: NDArray[np.float64],
    as_of: int | None,
) -> CatalogView:
    events = histories.event_columns()
    if as_of is None:
        as_of = int(events.times.max(initial=0))
    columns = ItemColumns(
        ids=[item.id for item in items],
        titles=[item.title for item in items],
        categories=[item.categories for item in items],
        prices=_prices(items, "price_nanos", shop.currency),
        available=np.array([_is_available(item, as_of) for item in items], np.bool_),
        created=np.array([item.created_time for item in items], np.int64),
        descriptions=[item.description for item in items],
        brands=[item.brand for item in items],
        tags=[item.tags for item in items],
        group_ids=[item.group_id for item in items],
        original_prices=_prices(items, "original_price_nanos", shop.currency),
        costs=_prices(items, "cost_nanos", shop.currency),
        attributes=[load_attributes(item.attributes) for item in items],
        paid_prices=paid_prices,
    )
    return build_view(
        columns,
        events,
        version=f"{shop.id}@{shop.revision}",
        as_of=as_of,
        currency=shop.currency,
        event_weights=shop.event_weights,
    )


def _prices(items: Sequence[_Row], column: str, currency: str) -> NDArray[np.float64]:
    """Return amounts in the shop's currency, NaN for none; those in another one cannot be compared."""
    amounts = [getattr(item, column) if item.currency in {"", currency} else None for item in items]
    return np.array([np.nan if nanos is None else to_units(nanos) for nanos in amounts], np.float64)


def _is_available(item: _Row, now: int) -> bool:
    return (
        not item.deleted
        and item.availability != Availability.OUT_OF_STOCK
        and (item.available_time is None or item.available_time <= now)
        and (item.expire_time is None or now < item.expire_time)
    )

"""Snapshot export: a shop as the Parquet files that trainers read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.attributes import load_attributes
from endcap.catalog.database import Database
from endcap.catalog.items import Availability
from endcap.catalog.money import NANOS
from endcap.catalog.shops import get_shop
from endcap.catalog.tables import EVENTS, ITEMS, USERS, VISITORS
from endcap.catalog.users import pseudonym
from endcap.sdk.snapshot import Snapshot, event_schema, item_schema, user_schema, write_snapshot


_PARTITION = 10_000  # events turned into columns at a time


async def export_snapshot(database: Database, shop: str, folder: Path) -> Snapshot:
    """Write a snapshot of a shop as of its newest event, as one transaction sees it.

    Users and visitors appear under pseudonyms, linked visitors under that of their user. A deleted item
    is there and not available; events of items that the catalog never held are left out.

    Raises:
        InvalidInput: The folder exists.
        NotFound: There is no such shop.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
        items = await _items(connection, shop)
        people = await _people(connection, shop)
        events = await _events(connection, shop, people)
    newest = events.select(pl.col("time").max()).item()
    return write_snapshot(
        folder,
        items=items,
        users=people.frame,
        events=events.filter(pl.col("item_id").is_in(items["item_id"].implode())),
        shop=shop,
        as_of=about.created_time if newest is None else newest,
        currency=about.currency,
    )


@dataclass(frozen=True, slots=True)
class _People:
    user_names: Mapping[str, str]
    """Pseudonyms by user id."""

    visitor_names: Mapping[str, str]
    """Pseudonyms by visitor id; those of the users where visitors are linked."""

    frame: pl.DataFrame
    """As in ``user_schema``; a linked visitor is its user."""

    def name(self, user_id: str | None, visitor_id: str) -> str:
        return self.visitor_names[visitor_id] if user_id is None else self.user_names[user_id]


async def _items(connection: AsyncConnection, shop: str) -> pl.DataFrame:
    query = (
        select(
            ITEMS.c.id,
            ITEMS.c.title,
            ITEMS.c.description,
            ITEMS.c.categories,
            ITEMS.c.brand,
            ITEMS.c.tags,
            ITEMS.c.price_nanos / float(NANOS),
            ITEMS.c.original_price_nanos / float(NANOS),
            ITEMS.c.cost_nanos / float(NANOS),
            ITEMS.c.group_id,
            ~ITEMS.c.deleted & (ITEMS.c.availability != Availability.OUT_OF_STOCK.value),
            ITEMS.c.created_time,
            ITEMS.c.attributes,
        )
        .where(ITEMS.c.shop == shop)
        .order_by(ITEMS.c.position)
    )
    rows = [(*row[:-1], json.dumps(load_attributes(row[-1]))) for row in await connection.execute(query)]
    return pl.DataFrame(rows, schema=item_schema(), orient="row")


async def _people(connection: AsyncConnection, shop: str) -> _People:
    users = select(USERS.c.id, USERS.c.pseudonym_key, USERS.c.created_time).where(USERS.c.shop == shop)
    visitors = select(
        VISITORS.c.id, VISITORS.c.pseudonym_key, VISITORS.c.created_time, VISITORS.c.user_id
    ).where(VISITORS.c.shop == shop)
    user_names: dict[str, str] = {}
    visitor_names: dict[str, str] = {}
    rows: list[tuple[str, int]] = []
    for user_id, key, created_time in await connection.execute(users.order_by(USERS.c.id)):
        user_names[user_id] = pseudonym(user_id, key)
        rows.append((user_names[user_id], created_time))
    for visitor_id, key, created_time, user_id in await connection.execute(visitors.order_by(VISITORS.c.id)):
        if user_id is None:
            visitor_names[visitor_id] = pseudonym(visitor_id, key)
            rows.append((visitor_names[visitor_id], created_time))
        else:
            visitor_names[visitor_id] = user_names[user_id]
    # In the order of the pseudonyms, so that not even the order says who is who.
    return _People(user_names, visitor_names, pl.DataFrame(sorted(rows), schema=user_schema(), orient="row"))


async def _events(connection: AsyncConnection, shop: str, people: _People) -> pl.DataFrame:
    query = (
        select(
            EVENTS.c.user_id,
            EVENTS.c.visitor_id,
            EVENTS.c.item_id,
            EVENTS.c.type,
            EVENTS.c.time,
            EVENTS.c.quantity,
            EVENTS.c.price_nanos / float(NANOS),
            EVENTS.c.value,
        )
        .where(EVENTS.c.shop == shop)
        .order_by(EVENTS.c.revision, EVENTS.c.sequence)
    )
    frames = [event_schema().to_frame()]
    async for partition in (await connection.stream(query)).partitions(_PARTITION):
        rows = [(people.name(user_id, visitor_id), *values) for user_id, visitor_id, *values in partition]
        frames.append(pl.DataFrame(rows, schema=event_schema(), orient="row"))
    return pl.concat(frames)

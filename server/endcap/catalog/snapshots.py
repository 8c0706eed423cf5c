"""Snapshot export: a shop as the tables that trainers read, in memory that does not grow with its events."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.attributes import load_attributes
from endcap.catalog.database import Database
from endcap.catalog.items import Availability
from endcap.catalog.money import NANOS
from endcap.catalog.shops import Shop, get_shop
from endcap.catalog.tables import EVENTS, EXPOSURES, ITEMS, USERS, VISITORS
from endcap.catalog.users import pseudonym
from endcap.sdk.snapshot import (
    Place,
    SnapshotManifest,
    SnapshotWriter,
    event_schema,
    exposure_schema,
    item_schema,
    snapshot_writer,
    user_schema,
)


_PARTITION = 10_000  # rows turned into columns at a time


async def export_snapshot(database: Database, shop: str, place: Place) -> SnapshotManifest:
    """Write a snapshot of a shop as of its newest event, as one transaction sees it.

    Users and visitors appear under pseudonyms, linked visitors under that of their user; whoever was deleted
    does not appear. A deleted item is there and not available. Left out are events of items that the catalog
    never held, and what might name a person: order ids, properties and attribution tokens.

    Only the ids of users and visitors are held in memory all at once.

    Args:
        database: Where the shop is.
        shop: Its id.
        place: A folder that does not exist yet, or ``s3://BUCKET/PREFIX`` where there is nothing yet.

    Raises:
        InvalidInput: There is something at the place already.
        NotFound: There is no such shop.
        AlreadyExists: Somebody else writes to the same prefix.
        FailedPrecondition: The bucket or the credentials are missing.
        Unavailable: The database or the object store does not answer.
    """
    with snapshot_writer(place) as writer:
        async with database.read() as connection:
            about = await get_shop(connection=connection, shop=shop)
            as_of = await _newest(connection, about)
            people = await _write_people(connection, shop, writer)
            await _write_items(connection, about, as_of, writer)
            await _write_events(connection, about, people, writer)
            await _write_exposures(connection, shop, people, writer)
        return writer.finish(shop=shop, as_of=as_of, currency=about.currency)


@dataclass(frozen=True, slots=True)
class _People:
    """Who has a pseudonym. It is made of id and key when it is needed: keys are half as long."""

    user_keys: Mapping[str, bytes]
    visitor_keys: Mapping[str, bytes]
    links: Mapping[str, str]
    """User ids by the visitors linked to them."""

    def name(self, user_id: str | None, visitor_id: str | None) -> str | None:
        """Return somebody's pseudonym; None for nobody that the shop knows."""
        if user_id is None and visitor_id is not None:
            user_id = self.links.get(visitor_id)
            if user_id is None:
                return _pseudonym(visitor_id, self.visitor_keys)
        return None if user_id is None else _pseudonym(user_id, self.user_keys)


def _pseudonym(identifier: str, keys: Mapping[str, bytes]) -> str | None:
    key = keys.get(identifier)
    return None if key is None else pseudonym(identifier, key)


async def _newest(connection: AsyncConnection, shop: Shop) -> int:
    """Return the moment of the newest event; that at which the shop was created where there is none."""
    query = select(func.max(EVENTS.c.time)).where(EVENTS.c.shop == shop.id)
    newest: int | None = (await connection.execute(query)).scalar()
    return shop.created_time if newest is None else newest


async def _write_people(connection: AsyncConnection, shop: str, writer: SnapshotWriter) -> _People:
    user_keys: dict[str, bytes] = {}
    visitor_keys: dict[str, bytes] = {}
    links: dict[str, str] = {}
    frames = [user_schema().to_frame()]
    users = select(USERS.c.id, USERS.c.pseudonym_key, USERS.c.created_time).where(USERS.c.shop == shop)
    async for partition in _partitions(connection, users):
        user_keys |= {user_id: key for user_id, key, _ in partition}
        frames.append(_table(user_schema(), [(pseudonym(each, key), time) for each, key, time in partition]))
    visitors = select(
        VISITORS.c.id, VISITORS.c.pseudonym_key, VISITORS.c.created_time, VISITORS.c.user_id
    ).where(VISITORS.c.shop == shop)
    async for partition in _partitions(connection, visitors):
        links |= {visitor_id: user_id for visitor_id, _, _, user_id in partition if user_id is not None}
        anonymous = [
            (visitor_id, key, time) for visitor_id, key, time, user_id in partition if user_id is None
        ]
        visitor_keys |= {visitor_id: key for visitor_id, key, _ in anonymous}
        frames.append(_table(user_schema(), [(pseudonym(each, key), time) for each, key, time in anonymous]))
    # In the order of the pseudonyms, so that not even the order says who is who.
    writer.append("users", pl.concat(frames).sort("user"))
    return _People(user_keys, visitor_keys, links)


async def _write_items(connection: AsyncConnection, shop: Shop, as_of: int, writer: SnapshotWriter) -> None:
    item = ITEMS.c
    available = and_(
        ~item.deleted,
        item.availability != Availability.OUT_OF_STOCK.value,
        or_(item.available_time.is_(None), item.available_time <= as_of),
        or_(item.expire_time.is_(None), item.expire_time > as_of),
    )
    query = (
        select(
            item.id,
            item.title,
            item.description,
            item.language_code,
            item.categories,
            item.brand,
            item.tags,
            item.image_uris,
            _amount(item.price_nanos, item.currency, shop),
            _amount(item.original_price_nanos, item.currency, shop),
            _amount(item.cost_nanos, item.currency, shop),
            item.group_id,
            available,
            item.created_time,
            item.attributes,
        )
        .where(item.shop == shop.id)
        .order_by(item.position)
    )
    async for partition in _partitions(connection, query):
        rows = [(*values, json.dumps(load_attributes(attributes))) for *values, attributes in partition]
        writer.append("items", _table(item_schema(), rows))


async def _write_events(
    connection: AsyncConnection, shop: Shop, people: _People, writer: SnapshotWriter
) -> None:
    event = EVENTS.c
    known = exists().where(ITEMS.c.shop == event.shop, ITEMS.c.id == event.item_id)
    query = (
        select(
            event.user_id,
            event.visitor_id,
            event.item_id,
            event.type,
            event.time,
            event.quantity,
            _amount(event.price_nanos, event.currency, shop),
            event.value,
        )
        .where(event.shop == shop.id, known)
        # The database sorts on its disk what is too much for its memory.
        .order_by(event.time, event.revision, event.sequence)
    )
    async for partition in _partitions(connection, query):
        rows = [(people.name(user_id, visitor_id), *values) for user_id, visitor_id, *values in partition]
        # Nobody's event may be of somebody who was deleted.
        writer.append("events", _table(event_schema(), rows).filter(pl.col("user").is_not_null()))


async def _write_exposures(
    connection: AsyncConnection, shop: str, people: _People, writer: SnapshotWriter
) -> None:
    exposure = EXPOSURES.c
    query = (
        select(
            exposure.user_id,
            exposure.visitor_id,
            exposure["items"],
            exposure.time,
            exposure.request_id,
            exposure.placement,
            exposure.experiment,
            exposure.variant,
        )
        .where(exposure.shop == shop)
        .order_by(exposure.time, exposure.sequence)
    )
    async for partition in _partitions(connection, query):
        rows = [
            (
                people.name(user_id, visitor_id),
                *values,
                position,
                item["item_id"],
                item["strategy"],
                item["bundle"],
                item["log_propensity"],
            )
            for user_id, visitor_id, items, *values in partition
            for position, item in enumerate(items, start=1)
        ]
        writer.append("exposures", _table(exposure_schema(), rows))


def _amount(nanos: ColumnElement[int], currency: ColumnElement[str], shop: Shop) -> ColumnElement[float]:
    """Return an amount in the shop's currency; null for one in another, which cannot be compared."""
    return case((currency.in_(("", shop.currency)), nanos / float(NANOS)))


async def _partitions(
    connection: AsyncConnection, query: Select[Any]
) -> AsyncIterator[Sequence[Sequence[Any]]]:
    async for partition in (await connection.stream(query)).partitions(_PARTITION):
        yield partition


def _table(schema: pl.Schema, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")

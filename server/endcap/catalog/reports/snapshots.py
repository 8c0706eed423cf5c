"""Snapshot export: a shop as the tables that trainers read, in memory that does not grow with its events."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, String, and_, case, cast, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import counting
from endcap.catalog.configuration.shops import ShopRecord, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import EVENTS, EXPOSURES, ITEMS, USER_RECORDS, USERS, VISITORS
from endcap.catalog.events.events import COUNTS
from endcap.catalog.events.exposures import read_items
from endcap.catalog.fields.attributes import Moment, load_attributes, store_attributes
from endcap.catalog.fields.money import NANOS
from endcap.catalog.items.items import Availability
from endcap.catalog.people.users import pseudonym
from endcap.sdk.snapshot import (
    Place,
    SnapshotManifest,
    SnapshotWriter,
    TypedValue,
    attributes_type,
    event_schema,
    exposure_schema,
    item_schema,
    localized_texts_type,
    pack_attributes,
    snapshot_writer,
    to_moment,
    user_schema,
)


_PARTITION = 10_000  # rows turned into columns at a time
_ASSIGNMENT = ("experiment", "variant", "propensity")


async def export_snapshot(database: Database, shop: str, place: Place) -> SnapshotManifest:
    """Write a snapshot of a shop as of its newest event, in one transaction.

    Users, visitors and orders appear under pseudonyms, and linked visitors under the pseudonym of their user.
    Deleted people do not appear; deleted items appear as not available. The snapshot leaves out attribution
    tokens, events without an item or of items that the catalog never held, events that take back another, and
    those that are taken back.

    Only the ids of users and visitors are held in memory all at once.

    Args:
        database: The database of the shop.
        shop: The shop's id.
        place: A folder that does not exist yet, or ``s3://BUCKET/PREFIX`` with an unused prefix.

    Raises:
        InvalidInput: The place is not empty.
        NotFound: The shop does not exist.
        AlreadyExists: Another process writes to the same prefix.
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
        return writer.finish(
            shop=shop, as_of=as_of, currency=about.currency, event_weights=about.event_weights
        )


@dataclass(frozen=True, slots=True)
class _People:
    """The keys of pseudonyms. A pseudonym is computed when needed, since keys take half the memory."""

    user_keys: Mapping[str, bytes]
    visitor_keys: Mapping[str, bytes]
    links: Mapping[str, str]
    """User ids, by linked visitor id."""

    def name(self, user_id: str | None, visitor_id: str | None) -> str | None:
        """Return the pseudonym of a person; None if the shop does not know the person."""
        identifier, key = self._key(user_id, visitor_id)
        return None if key is None else pseudonym(identifier, key)

    def order(self, user_id: str | None, visitor_id: str | None, order_id: str) -> str:
        """Return the pseudonym of a person's order; empty without an order or for an unknown person."""
        if not order_id:
            return ""
        _, key = self._key(user_id, visitor_id)
        return "" if key is None else pseudonym(f"order {order_id}", key)

    def _key(self, user_id: str | None, visitor_id: str | None) -> tuple[str, bytes | None]:
        """Return the id and the key of a person; None if the shop does not know the person."""
        if user_id is None and visitor_id is not None:
            user_id = self.links.get(visitor_id)
            if user_id is None:
                return visitor_id, self.visitor_keys.get(visitor_id)
        return ("", None) if user_id is None else (user_id, self.user_keys.get(user_id))


async def _newest(connection: AsyncConnection, shop: ShopRecord) -> int:
    """Return the time of the newest event, or the creation time of a shop without events."""
    query = select(func.max(EVENTS.c.time)).where(EVENTS.c.shop == shop.id)
    newest: int | None = (await connection.execute(query)).scalar()
    return shop.created_time if newest is None else newest


async def _write_people(connection: AsyncConnection, shop: str, writer: SnapshotWriter) -> _People:
    user, record, visitor = USERS.c, USER_RECORDS.c, VISITORS.c
    has_record = and_(record.shop == user.shop, record.id == user.id)
    user_keys: dict[str, bytes] = {}
    users = (
        select(
            user.id,
            user.pseudonym_key,
            func.coalesce(record.created_time, user.created_time),
            _text(record.tags),
            _text(record.attributes),
            record.language_code,
        )
        .join_from(USERS, USER_RECORDS, has_record, isouter=True)
        .where(user.shop == shop)
        # In random order, so that the order does not reveal who is who.
        .order_by(user.pseudonym_key)
    )
    async for partition in (await connection.stream(users)).partitions(_PARTITION):
        user_keys |= {user_id: key for user_id, key, *_ in partition}
        rows = [
            (pseudonym(user_id, key), tags or "[]", language or "", time, attributes or "{}")
            for user_id, key, time, tags, attributes, language in partition
        ]
        writer.append("users", _table(user_schema(), rows))
    visitor_keys: dict[str, bytes] = {}
    links: dict[str, str] = {}
    visitors = (
        select(visitor.id, visitor.pseudonym_key, visitor.created_time, visitor.user_id)
        .where(visitor.shop == shop)
        .order_by(visitor.pseudonym_key)
    )
    async for partition in (await connection.stream(visitors)).partitions(_PARTITION):
        links |= {visitor_id: user_id for visitor_id, _, _, user_id in partition if user_id is not None}
        anonymous = [row for row in partition if row[0] not in links]
        visitor_keys |= {visitor_id: key for visitor_id, key, *_ in anonymous}
        rows = [(pseudonym(visitor_id, key), "[]", "", time, "{}") for visitor_id, key, time, _ in anonymous]
        writer.append("users", _table(user_schema(), rows))
    return _People(user_keys, visitor_keys, links)


async def _write_items(
    connection: AsyncConnection, shop: ShopRecord, as_of: int, writer: SnapshotWriter
) -> None:
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
            _text(item.localized_texts),
            _text(item.categories),
            item.brand,
            _text(item.tags),
            _text(item.image_uris),
            _amount(item.price_nanos, item.currency, shop),
            _amount(item.original_price_nanos, item.currency, shop),
            _amount(item.cost_nanos, item.currency, shop),
            item.group_id,
            available,
            item.availability,
            item.available_time,
            item.expire_time,
            item.deleted,
            item.created_time,
            _text(item.attributes),
        )
        .where(item.shop == shop.id)
        .order_by(item.position)
    )
    async for partition in (await connection.stream(query)).partitions(_PARTITION):
        counted = [(*row[:-1], _counted(row[-1], shop)) for row in partition]
        writer.append("items", _table(item_schema(), counted))


def _counted(attributes: str, shop: ShopRecord) -> str:
    """Return the attributes of an item that count."""
    if attributes == "{}":
        return attributes
    return json.dumps(store_attributes(counting(load_attributes(json.loads(attributes)), shop.attributes)))


async def _write_events(
    connection: AsyncConnection, shop: ShopRecord, people: _People, writer: SnapshotWriter
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
            _amount(event.unit_cost_nanos, event.currency, shop),
            event.value,
            event.order_id,
            _text(event.properties),
            event.attribution,
        )
        .where(event.shop == shop.id, COUNTS, known)
        # The database sorts on disk what does not fit its memory.
        .order_by(event.time, event.revision, event.sequence)
    )
    async for partition in (await connection.stream(query)).partitions(_PARTITION):
        rows = [
            (
                people.name(user_id, visitor_id),
                *values,
                people.order(user_id, visitor_id, order_id),
                properties,
                attribution,
            )
            for user_id, visitor_id, *values, order_id, properties, attribution in partition
        ]
        # An event of an unknown person may be of a deleted one.
        writer.append("events", _table(event_schema(), rows).filter(pl.col("user").is_not_null()))


async def _write_exposures(
    connection: AsyncConnection, shop: str, people: _People, writer: SnapshotWriter
) -> None:
    exposure = EXPOSURES.c
    query = (
        select(
            exposure.user_id,
            exposure.visitor_id,
            exposure.page,
            exposure.item_ids,
            exposure.sources,
            exposure.log_propensities,
            exposure.assignments,
            exposure.time,
            exposure.request_id,
            exposure.placement,
        )
        .where(exposure.shop == shop, ~exposure.superseded)
        .order_by(exposure.time, exposure.sequence)
    )
    async for partition in (await connection.stream(query)).partitions(_PARTITION):
        rows = [
            (
                people.name(user_id, visitor_id),
                time,
                request_id,
                placement,
                json.dumps([dict(zip(_ASSIGNMENT, each, strict=True)) for each in assignments]),
                page + place,
                item.item_id,
                item.strategy,
                item.bundle,
                item.log_propensity,
            )
            for user_id, visitor_id, page, *items, assignments, time, request_id, placement in partition
            for place, item in enumerate(read_items(*items), start=1)
        ]
        writer.append("exposures", _table(exposure_schema(), rows))


def _amount(
    nanos: ColumnElement[int], currency: ColumnElement[str], shop: ShopRecord
) -> ColumnElement[float]:
    """Return an amount in the shop's currency; null for amounts in other currencies."""
    return case((currency.in_(("", shop.currency)), nanos / float(NANOS)))


def _text(column: ColumnElement[Any]) -> ColumnElement[str]:
    """Return a column of JSON as text, which polars parses faster than Python objects."""
    return cast(column, String)


def _table(schema: pl.Schema, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Return rows as a table; the rows hold lists, attributes and localized texts as JSON."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pl.DataFrame(
        [_column(name, kind, values) for (name, kind), values in zip(schema.items(), columns, strict=True)]
    )


def _column(name: str, kind: pl.DataType, values: Sequence[Any]) -> pl.Series:
    if not isinstance(kind, pl.List):
        return pl.Series(name, values, kind)
    if kind == attributes_type():
        return pack_attributes(map(_attributes, values)).alias(name)
    if kind == localized_texts_type():
        values = list(map(_localized, values))
    return pl.Series(name, values, pl.String()).str.json_decode(kind)


def _attributes(stored: str) -> Mapping[str, TypedValue]:
    if stored == "{}":  # as in most rows
        return {}
    attributes = load_attributes(json.loads(stored))
    return {
        name: to_moment(value) if isinstance(value, Moment) else value for name, value in attributes.items()
    }


def _localized(stored: str) -> str:
    if stored == "{}":
        return "[]"
    entries = json.loads(stored).items()
    return json.dumps([{"language_code": language, **texts} for language, texts in entries])

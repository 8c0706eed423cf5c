"""User records: the fields that a shop writes for its users. A user who only has events has no record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import upsert
from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.tables import USER_RECORDS, VISITORS
from endcap.catalog.fields.attributes import AttributeValue, load_attributes, store_attributes
from endcap.catalog.people.users import remember_users


MAX_VISITORS = 100
"""The largest number of linked visitors that a record names; the newest links are kept."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """The shop's own record of a user."""

    id: str
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    language_code: str = ""

    created_time: int | None = None
    """Unix milliseconds; None in a write keeps the stored time, or sets the time of the write."""

    updated_time: int = 0
    """Unix milliseconds of the last write; writes ignore this field and the next ones."""

    version: int = 0
    """The number of writes."""

    visitor_ids: tuple[str, ...] = ()
    """The visitors that are linked to the user, the newest link first."""

    @property
    def etag(self) -> str:
        """Identifies the stored state."""
        return str(self.version)


async def get_user_records(
    *, connection: AsyncConnection, shop: str, user_ids: Iterable[str]
) -> dict[str, UserRecord]:
    """Return the records of users by id; users without a record are left out."""
    wanted = list(dict.fromkeys(user_ids))
    found: dict[str, UserRecord] = {}
    for chunk in in_chunks(wanted):
        query = select(USER_RECORDS).where(
            USER_RECORDS.c.shop == shop, is_among(connection, USER_RECORDS.c.id, chunk)
        )
        for record in await _records(connection, shop, (await connection.execute(query)).mappings().all()):
            found[record.id] = record
    return found


async def list_user_records(
    *,
    connection: AsyncConnection,
    shop: str,
    limit: int,
    after: str = "",
    condition: ColumnElement[bool] | None = None,
) -> list[UserRecord]:
    """Return a page of records in the order of the users' ids.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        limit: The largest number to return.
        after: The last id of the previous page; empty for the first page.
        condition: A further condition that the rows must meet; None for no condition.
    """
    query = (
        select(USER_RECORDS)
        .where(
            USER_RECORDS.c.shop == shop,
            USER_RECORDS.c.id > after,
            true() if condition is None else condition,
        )
        .order_by(USER_RECORDS.c.id)
        .limit(limit)
    )
    return await _records(connection, shop, (await connection.execute(query)).mappings().all())


async def upsert_user_records(
    *, connection: AsyncConnection, shop: str, records: Iterable[UserRecord], now: int
) -> None:
    """Create records, or replace the records of the same users; if a user occurs twice, the last counts.

    Args:
        connection: A connection that holds the shop's revision, so that nobody else writes records meanwhile.
        shop: The shop's id.
        records: The records to store.
        now: Unix milliseconds.
    """
    written = {record.id: record for record in records}
    stored = await get_user_records(connection=connection, shop=shop, user_ids=written)
    values: list[dict[str, Any]] = []
    for record in written.values():
        before = stored.get(record.id, UserRecord(record.id, created_time=now))
        created = before.created_time if record.created_time is None else record.created_time
        values.append(
            {
                "shop": shop,
                "id": record.id,
                "tags": list(record.tags),
                "attributes": store_attributes(record.attributes),
                "language_code": record.language_code,
                "created_time": created,
                "updated_time": now,
                "version": before.version + 1,
            }
        )
    times = {value["id"]: value["created_time"] for value in values}
    await remember_users(connection=connection, shop=shop, created_times=times)
    await upsert(connection=connection, table=USER_RECORDS, values=values)


async def _records(connection: AsyncConnection, shop: str, rows: Sequence[RowMapping]) -> list[UserRecord]:
    """Return the records of rows, with the linked visitors."""
    place = func.row_number().over(
        partition_by=VISITORS.c.user_id,
        order_by=(func.coalesce(VISITORS.c.linked_time, 0).desc(), VISITORS.c.id),
    )
    linked = (
        select(VISITORS.c.user_id, VISITORS.c.id, place.label("place"))
        .where(VISITORS.c.shop == shop, is_among(connection, VISITORS.c.user_id, [row["id"] for row in rows]))
        .subquery()
    )
    query = select(linked.c.user_id, linked.c.id).where(linked.c.place <= MAX_VISITORS)
    visitors: dict[str, list[str]] = {}
    if rows:
        for user_id, visitor_id in await connection.execute(query.order_by(linked.c.user_id, linked.c.place)):
            visitors.setdefault(user_id, []).append(visitor_id)
    return [replace(_record(row), visitor_ids=tuple(visitors.get(row["id"], ()))) for row in rows]


def _record(row: RowMapping) -> UserRecord:
    values = dict(row)
    del values["shop"]
    values["tags"] = tuple(values["tags"])
    values["attributes"] = load_attributes(values["attributes"])
    return UserRecord(**values)

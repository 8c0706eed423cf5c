"""Snapshot export: a shop as the Parquet files that trainers read."""

from pathlib import Path

import polars as pl
from sqlalchemy import select

from endcap.catalog.database import Database
from endcap.catalog.items import Availability
from endcap.catalog.money import to_units
from endcap.catalog.shops import get_shop
from endcap.catalog.tables import EVENTS, ITEMS, USERS, VISITORS
from endcap.catalog.users import pseudonym
from endcap.sdk.snapshot import Snapshot, event_schema, item_schema, user_schema, write_snapshot


async def export_snapshot(database: Database, shop: str, folder: Path) -> Snapshot:
    """Write a snapshot of a shop, as of its newest event.

    Visitors that were linked to a user appear as that user.

    Raises:
        InvalidInput: The folder exists.
        NotFound: There is no such shop.
    """
    async with database.read() as connection:
        about = await get_shop(connection=connection, shop=shop)
        items = (
            (await connection.execute(select(ITEMS).where(ITEMS.c.shop == shop).order_by(ITEMS.c.position)))
            .mappings()
            .all()
        )
        users = (await connection.execute(select(USERS).where(USERS.c.shop == shop))).mappings().all()
        visitors = (
            (await connection.execute(select(VISITORS).where(VISITORS.c.shop == shop))).mappings().all()
        )
        columns = [
            EVENTS.c[name]
            for name in (
                "user_id",
                "visitor_id",
                "item_id",
                "type",
                "time",
                "quantity",
                "price_nanos",
                "value",
            )
        ]
        events = (
            await connection.execute(
                select(*columns).where(EVENTS.c.shop == shop).order_by(EVENTS.c.sequence)
            )
        ).all()
    user_names = {row["id"]: pseudonym(row["id"], row["pseudonym_key"]) for row in users}
    visitor_names = {
        row["id"]: user_names.get(row["user_id"] or "", pseudonym(row["id"], row["pseudonym_key"]))
        for row in visitors
    }
    item_ids = {row["id"] for row in items}
    return write_snapshot(
        folder,
        items=pl.DataFrame(
            [
                (
                    row["id"],
                    row["title"],
                    row["description"],
                    row["categories"],
                    row["brand"],
                    None if row["price_nanos"] is None else to_units(row["price_nanos"]),
                    row["group_id"],
                    row["availability"] != Availability.OUT_OF_STOCK.value and not row["deleted"],
                    row["created_time"],
                )
                for row in items
            ],
            schema=item_schema(),
            orient="row",
        ),
        users=pl.DataFrame(
            [(user_names[row["id"]], row["created_time"]) for row in users]
            + [(visitor_names[row["id"]], row["created_time"]) for row in visitors if row["user_id"] is None],
            schema=user_schema(),
            orient="row",
        ),
        events=pl.DataFrame(
            [
                (
                    user_names[row.user_id] if row.user_id else visitor_names[row.visitor_id],
                    row.item_id,
                    row.type,
                    row.time,
                    row.quantity,
                    None if row.price_nanos is None else to_units(row.price_nanos),
                    row.value,
                )
                for row in events
                if row.item_id in item_ids
            ],
            schema=event_schema(),
            orient="row",
        ),
        shop=shop,
        as_of=max((row.time for row in events), default=about.created_time),
        currency=about.currency,
    )

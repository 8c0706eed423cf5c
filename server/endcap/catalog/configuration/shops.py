"""Shops: the tenants of a server."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import (
    read_types_of_shops,
    replace_definitions,
)
from endcap.catalog.configuration.placements import DEFAULT_PLACEMENTS, insert_placements
from endcap.catalog.configuration.shop_settings import (
    ShopSettings,
    check_settings,
    settings_from_json,
    settings_to_json,
)
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.database.tables import SHOPS
from endcap.sdk.errors import AlreadyExists, NotFound


DEFAULT_SHOP = "default"
"""The shop of a caller that does not name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopRecord(ShopSettings):
    """A tenant, with its settings."""

    id: str

    token_key: bytes
    """32 random bytes that sign the tokens of the server. Every shop has another key, and so does a new shop
    with the id of a deleted one."""

    revision: int
    """The number of writes that changed the served content."""

    created_time: int
    """Unix milliseconds."""


async def create_shop(*, connection: AsyncConnection, shop: str, now: int, currency: str = "") -> ShopRecord:
    """Create a shop with the default settings and placements.

    Args:
        connection: A connection that writes.
        shop: The id.
        now: Unix milliseconds.
        currency: ISO 4217 code of the shop's prices.

    Raises:
        AlreadyExists: A shop of that id exists.
    """
    values = {
        "id": shop,
        "currency": currency,
        "settings": settings_to_json(ShopSettings()),
        "token_key": secrets.token_bytes(32),
        "revision": 1,
        "created_time": now,
    }
    try:
        await connection.execute(insert(SHOPS).values(values))
    except IntegrityError:
        raise AlreadyExists(f"shop {shop!r} already exists: choose another id") from None
    placements = [
        replace(placement, created_time=now, updated_time=now, revision=1) for placement in DEFAULT_PLACEMENTS
    ]
    await insert_placements(connection=connection, shop=shop, placements=placements)
    return await get_shop(connection=connection, shop=shop)


async def change_shop(
    *, connection: AsyncConnection, shop: str, change: Callable[[ShopRecord], ShopRecord]
) -> tuple[ShopRecord, ShopRecord]:
    """Change the settings of a shop, and return the shop before and after the change.

    Args:
        connection: A connection that writes.
        shop: The id.
        change: Takes the shop and returns it with new settings; nobody else changes the shop meanwhile.

    Raises:
        NotFound: The shop does not exist.
        InvalidInput: A setting is out of its range.
    """
    await advance_revision(connection=connection, shop=shop)  # nobody else changes the shop from here on
    before = await get_shop(connection=connection, shop=shop)
    after = change(before)
    check_settings(after)
    values = {"currency": after.currency, "settings": settings_to_json(after)}
    await connection.execute(update(SHOPS).where(SHOPS.c.id == shop).values(values))
    if after.attributes != before.attributes:
        await replace_definitions(connection=connection, shop=shop, types=after.attributes)
    return before, await get_shop(connection=connection, shop=shop)


async def get_shop(*, connection: AsyncConnection, shop: str) -> ShopRecord:
    """Return one shop.

    Raises:
        NotFound: No shop has that id.
    """
    found = await find_shop(connection=connection, shop=shop)
    if found is None:
        raise NotFound(f"shop {shop!r} does not exist: create it with 'endcap shops create'")
    return found


async def find_shop(*, connection: AsyncConnection, shop: str) -> ShopRecord | None:
    """Return one shop, or None if no shop has that id."""
    row = (await connection.execute(select(SHOPS).where(SHOPS.c.id == shop))).mappings().one_or_none()
    return None if row is None else (await _shops(connection, [row]))[0]


async def list_shops(
    *, connection: AsyncConnection, after: str = "", limit: int | None = None
) -> list[ShopRecord]:
    """Return shops in the order of their ids.

    Args:
        connection: A connection that reads or writes.
        after: The last id of the previous page; empty for the first page.
        limit: The largest number to return; None for all.
    """
    query = select(SHOPS).where(SHOPS.c.id > after).order_by(SHOPS.c.id).limit(limit)
    return await _shops(connection, (await connection.execute(query)).mappings().all())


async def _shops(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[ShopRecord]:
    types = await read_types_of_shops(connection=connection, shops=[row["id"] for row in rows])
    return [
        ShopRecord(
            id=row["id"],
            currency=row["currency"],
            attributes=types.get(row["id"], {}),
            token_key=row["token_key"],
            revision=row["revision"],
            created_time=row["created_time"],
            **settings_from_json(row["settings"]),
        )
        for row in rows
    ]

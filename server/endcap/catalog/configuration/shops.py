"""Shops: the tenants of a server."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.attribute_definitions import (
    AttributeTypes,
    read_types_of_shops,
    replace_definitions,
)
from endcap.catalog.configuration.placements import DEFAULT_PLACEMENTS, insert_placements
from endcap.catalog.configuration.shop_settings import (
    MAX_EVENT_AGE_DAYS,
    ShopSettings,
    check_settings,
    settings_from_json,
    settings_to_json,
)
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.database.tables import SHOPS
from endcap.sdk.errors import AlreadyExists, NotFound


__all__ = [
    "DEFAULT_SHOP",
    "MAX_EVENT_AGE_DAYS",
    "ShopRecord",
    "change_shop",
    "create_shop",
    "get_shop",
    "list_shops",
]

DEFAULT_SHOP = "default"
"""The shop of a caller that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopRecord(ShopSettings):
    """A tenant, with its settings."""

    id: str

    token_key: bytes
    """Signs the tokens that the server hands out and gets back, 32 random bytes. No two shops have the same,
    nor has a shop that takes the id of one that was deleted."""

    revision: int
    """Counts the writes that change what is served."""

    created_time: int
    """Unix milliseconds."""


async def create_shop(*, connection: AsyncConnection, shop: str, now: int, currency: str = "") -> ShopRecord:
    """Create a shop with the default settings and placements.

    Args:
        connection: One that writes.
        shop: The id.
        now: Unix milliseconds.
        currency: ISO 4217 code of its prices.

    Raises:
        AlreadyExists: There is a shop of that id.
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
    """Change the settings of a shop, and return it as it was and as it is.

    Args:
        connection: One that writes.
        shop: The id.
        change: Returns the shop with other settings; nobody else changes it meanwhile.

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
    row = (await connection.execute(select(SHOPS).where(SHOPS.c.id == shop))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"shop {shop!r} does not exist: create it with 'endcap shops create'")
    return (await _shops(connection, [row]))[0]


async def list_shops(
    *, connection: AsyncConnection, after: str = "", limit: int | None = None
) -> list[ShopRecord]:
    """Return shops in the order of their ids.

    Args:
        connection: Any.
        after: The last id of the page before; empty for the first page.
        limit: How many at most; None for all.
    """
    query = select(SHOPS).where(SHOPS.c.id > after).order_by(SHOPS.c.id).limit(limit)
    return await _shops(connection, (await connection.execute(query)).mappings().all())


async def _shops(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[ShopRecord]:
    types = await read_types_of_shops(connection=connection, shops=[row["id"] for row in rows])
    return [_shop(row, types.get(row["id"], {})) for row in rows]


def _shop(row: RowMapping, types: AttributeTypes) -> ShopRecord:
    return ShopRecord(
        id=row["id"],
        currency=row["currency"],
        attributes=types,
        token_key=row["token_key"],
        revision=row["revision"],
        created_time=row["created_time"],
        **settings_from_json(row["settings"]),
    )

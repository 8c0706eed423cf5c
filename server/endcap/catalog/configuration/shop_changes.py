"""The audit log of shops: who changed which settings, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shop_settings import ShopSettings, settings_to_json
from endcap.catalog.database.tables import SHOP_CHANGES


@dataclass(frozen=True, slots=True)
class ShopChange:
    """One entry of the log."""

    revision: int
    """Revision of the shop that holds the change; no other change of the shop has it."""

    time: int
    """Unix milliseconds."""

    before: Mapping[str, Any] | None
    """The settings before, as JSON values; None where the change created the shop."""

    after: Mapping[str, Any]
    """The settings after the change, as JSON values."""

    actor: str = ""
    """The actor who made the change; empty if the call named none."""

    request_id: str = ""
    """The id of the call that made the change."""


def audited(settings: ShopSettings) -> dict[str, Any]:
    """Return all settings as JSON values."""
    return {
        **settings_to_json(settings),
        "currency": settings.currency,
        "attributes": {name: type_.value for name, type_ in settings.attributes.items()},
    }


async def record_shop_change(*, connection: AsyncConnection, shop: str, change: ShopChange) -> None:
    """Write an entry, in the transaction that makes the change."""
    values = {name: getattr(change, name) for name in ShopChange.__slots__}
    await connection.execute(insert(SHOP_CHANGES).values(shop=shop, **values))


async def list_shop_changes(*, connection: AsyncConnection, shop: str, limit: int) -> list[ShopChange]:
    """Return changes of a shop, the newest first.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        limit: The largest number to return.
    """
    changes = SHOP_CHANGES.c
    query = select(*(changes[name] for name in ShopChange.__slots__)).where(changes.shop == shop)
    rows = await connection.execute(query.order_by(changes.revision.desc()).limit(limit))
    return [ShopChange(**row) for row in rows.mappings()]

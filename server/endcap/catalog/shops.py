"""Shops: the tenants of a server."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.field_rules import CURRENCY, EVENT_TYPE
from endcap.catalog.placements import DEFAULT_PLACEMENTS, insert_placements
from endcap.catalog.revisions import advance_revision
from endcap.catalog.tables import SHOPS
from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import AlreadyExists, InvalidInput, NotFound


DEFAULT_SHOP = "default"
"""The shop of a caller that names none."""

MAX_EVENT_AGE_DAYS = 30
"""Age of the oldest event that a shop takes from a caller, unless it says otherwise."""

MAX_EVENT_WEIGHT = 1_000.0

_LONGEST_AGE_DAYS = 36_500
_UNCHANGED: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Shop:
    """A tenant."""

    id: str

    currency: str
    """ISO 4217 code that prices are compared and reported in; empty when not said."""

    event_weights: Mapping[str, float]
    """What an event of each type counts for; one of another type counts for nothing."""

    max_event_age_days: int
    """Age of the oldest event that is taken from a caller; an import takes older ones."""

    keep_events_days: int
    """For how long events are kept; 0 for ever."""

    keep_exposures_days: int
    """For how long the records of what was shown are kept; 0 for ever."""

    token_key: bytes
    """Signs the tokens that the server hands out and gets back, 32 random bytes."""

    revision: int
    """Counts the writes that change what is served."""

    created_time: int
    """Unix milliseconds."""


async def create_shop(
    *,
    connection: AsyncConnection,
    shop: str,
    now: int,
    currency: str = "",
    event_weights: Mapping[str, float] = EVENT_WEIGHTS,
) -> Shop:
    """Create a shop with the default placements.

    Args:
        connection: One that writes.
        shop: The id.
        now: Unix milliseconds.
        currency: ISO 4217 code of its prices.
        event_weights: What an event of each type counts for.

    Raises:
        AlreadyExists: There is a shop of that id.
    """
    settings = {"event_weights": dict(event_weights), "max_event_age_days": MAX_EVENT_AGE_DAYS}
    values = {
        "id": shop,
        "currency": currency,
        "settings": settings,
        "token_key": secrets.token_bytes(32),
        "revision": 1,
        "created_time": now,
    }
    try:
        await connection.execute(insert(SHOPS).values(values))
    except IntegrityError:
        raise AlreadyExists(f"there is a shop {shop!r} already: choose another id") from None
    placements = [
        replace(placement, created_time=now, updated_time=now, revision=1) for placement in DEFAULT_PLACEMENTS
    ]
    await insert_placements(connection=connection, shop=shop, placements=placements)
    return await get_shop(connection=connection, shop=shop)


async def change_shop(
    *,
    connection: AsyncConnection,
    shop: str,
    currency: str | None = None,
    event_weights: Mapping[str, float] = _UNCHANGED,
    max_event_age_days: int | None = None,
    keep_events_days: int | None = None,
    keep_exposures_days: int | None = None,
) -> Shop:
    """Change the settings of a shop: those that are named.

    Args:
        connection: One that writes.
        shop: The id.
        currency: ISO 4217 code of its prices.
        event_weights: What an event counts for by its type, from 0 to ``MAX_EVENT_WEIGHT``; 0 for nothing.
        max_event_age_days: Age of the oldest event that is taken from a caller.
        keep_events_days: For how long events are kept, 0 for ever.
        keep_exposures_days: For how long the records of what was shown are kept, 0 for ever.

    Raises:
        NotFound: There is no such shop.
        InvalidInput: A value is none of its setting.
    """
    if currency is not None and not CURRENCY.fullmatch(currency):
        raise InvalidInput("currency must be an ISO 4217 code, such as EUR", field="currency")
    for event_type, weight in event_weights.items():
        _check_weight(event_type, weight)
    if max_event_age_days is not None and not 1 <= max_event_age_days <= _LONGEST_AGE_DAYS:
        raise InvalidInput(
            f"max_event_age_days must be from 1 to {_LONGEST_AGE_DAYS}", field="max_event_age_days"
        )
    for name, days in (("keep_events_days", keep_events_days), ("keep_exposures_days", keep_exposures_days)):
        if days is not None and not 0 <= days <= _LONGEST_AGE_DAYS:
            raise InvalidInput(
                f"{name} must be from 0, which is for ever, to {_LONGEST_AGE_DAYS}", field=name
            )
    await advance_revision(connection=connection, shop=shop)  # nobody else changes the shop from here on
    before = await get_shop(connection=connection, shop=shop)
    settings: dict[str, Any] = {
        "event_weights": {**before.event_weights, **event_weights},
        "max_event_age_days": max_event_age_days or before.max_event_age_days,
        "keep_events_days": before.keep_events_days if keep_events_days is None else keep_events_days,
        "keep_exposures_days": (
            before.keep_exposures_days if keep_exposures_days is None else keep_exposures_days
        ),
    }
    if 0 < settings["keep_events_days"] < settings["max_event_age_days"]:
        # One that was deleted, and is sent again, would be taken for a new one.
        raise InvalidInput(
            "keep_events_days must not be less than max_event_age_days: keep events for longer, or take only"
            " younger ones",
            field="keep_events_days",
        )
    values = {"currency": currency or before.currency, "settings": settings}
    await connection.execute(update(SHOPS).where(SHOPS.c.id == shop).values(values))
    return await get_shop(connection=connection, shop=shop)


async def get_shop(*, connection: AsyncConnection, shop: str) -> Shop:
    """Return one shop.

    Raises:
        NotFound: There is none of that id.
    """
    row = (await connection.execute(select(SHOPS).where(SHOPS.c.id == shop))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no shop {shop!r}: create it with 'endcap shops create'")
    return _shop(row)


async def list_shops(*, connection: AsyncConnection) -> list[Shop]:
    """Return every shop, by id."""
    rows = (await connection.execute(select(SHOPS).order_by(SHOPS.c.id))).mappings()
    return [_shop(row) for row in rows]


def _check_weight(event_type: str, weight: float) -> None:
    if not EVENT_TYPE.fullmatch(event_type):
        raise InvalidInput(
            f"{event_type!r} is no event type: write 1 to 64 of a-z, 0-9 and _", field="weight"
        )
    if not 0 <= weight <= MAX_EVENT_WEIGHT:  # as is no comparison with NaN
        raise InvalidInput(
            f"the weight of {event_type} must be from 0 to {MAX_EVENT_WEIGHT:g}", field="event_weights"
        )


def _shop(row: RowMapping) -> Shop:
    return Shop(
        id=row["id"],
        currency=row["currency"],
        event_weights=row["settings"]["event_weights"],
        max_event_age_days=row["settings"].get("max_event_age_days", MAX_EVENT_AGE_DAYS),
        keep_events_days=row["settings"].get("keep_events_days", 0),
        keep_exposures_days=row["settings"].get("keep_exposures_days", 0),
        token_key=row["token_key"],
        revision=row["revision"],
        created_time=row["created_time"],
    )

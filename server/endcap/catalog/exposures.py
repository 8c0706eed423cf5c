"""Exposures: the record of what was shown, written off the request path."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.group_commit import GroupCommit
from endcap.catalog.tables import EXPOSURES, SHOPS
from endcap.catalog.tombstones import People, find_deleted
from endcap.catalog.upserting import insert_rows
from endcap.sdk.errors import EndcapError


GROUP_SIZE = 500
"""Exposures a commit."""

PAUSE = 0.1
"""Seconds between commits: a commit a call would take as long as the call itself."""

QUEUE_SIZE = 10_000
"""Exposures that may wait for a commit."""

MAX_EXPOSURES = 1_000
"""Exposures of one person that ``exposed_items`` looks at, the newest ones."""


@dataclass(frozen=True, slots=True)
class ExposedItem:
    """One item of a list that was shown."""

    item_id: str
    strategy: str

    bundle: str = ""
    """The bundle that the score comes from, as ``model@version``; empty where there is none."""

    log_propensity: float | None = None
    """Log-probability of the item in its position, given those above; None where chance played no part."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """A part that failed while the list was made."""

    strategy: str
    cause: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """The record that a list was shown."""

    shop: str
    request_id: str

    time: int
    """Unix milliseconds."""

    placement: str
    view: str
    """The view's version."""

    bundles: Mapping[str, str]
    """The generation: version by model."""

    items: tuple[ExposedItem, ...]
    """In the order shown."""

    user_id: str | None = None
    visitor_id: str | None = None
    experiment: str = ""
    variant: str = ""
    degraded: tuple[Degradation, ...] = ()


async def exposed_items(
    *, connection: AsyncConnection, shop: str, user_id: str | None, visitor_id: str | None, since: int
) -> list[tuple[int, str]]:
    """Return what a user or a visitor was shown: time and item id, once for each time, the newest first.

    Args:
        connection: Any.
        shop: The shop's id.
        user_id: None for nobody.
        visitor_id: None for nobody.
        since: Unix milliseconds of the earliest exposure.
    """
    query = (
        select(EXPOSURES.c.time, EXPOSURES.c["items"])
        .where(
            EXPOSURES.c.shop == shop,
            EXPOSURES.c.time >= since,
            or_(
                *(EXPOSURES.c.user_id == each for each in (user_id,) if each),
                *(EXPOSURES.c.visitor_id == each for each in (visitor_id,) if each),
                false(),
            ),
        )
        .order_by(EXPOSURES.c.time.desc())
        .limit(MAX_EXPOSURES)
    )
    return [(time, item["item_id"]) for time, items in await connection.execute(query) for item in items]


class ExposureLog:
    """Writes exposures in groups. Create it in the event loop, and close it."""

    def __init__(self, database: Database, *, on_lost: Callable[[int], None] = lambda _count: None) -> None:
        """Start writing.

        Args:
            database: Where exposures go.
            on_lost: Called with a number of exposures that will never be written, for too many waited or the
                database refused them.
        """
        self._database = database
        self._commits = GroupCommit(
            self._commit, group_size=GROUP_SIZE, queue_size=QUEUE_SIZE, pause=PAUSE, on_dropped=on_lost
        )

    def record(self, exposure: Exposure) -> None:
        """Write an exposure some time soon, unless its user was deleted; never waits, never fails."""
        self._commits.offer(exposure)

    async def close(self) -> None:
        """Write what waits, then stop."""
        await self._commits.close()

    async def _commit(self, exposures: Sequence[Exposure]) -> list[EndcapError | None]:
        rows = [_row(exposure) for exposure in exposures]
        async with self._database.write() as connection:
            shops = sorted({exposure.shop for exposure in exposures})
            deleted = {
                shop: people
                for shop in shops
                if (people := await _deleted(connection, shop, exposures)) is not None
            }
            kept = [
                row
                for row, exposure in zip(rows, exposures, strict=True)
                if exposure.shop in deleted
                and exposure.user_id not in deleted[exposure.shop].users
                and exposure.visitor_id not in deleted[exposure.shop].visitors
            ]
            await insert_rows(connection=connection, table=EXPOSURES, rows=kept)
        return [None] * len(exposures)


def _row(exposure: Exposure) -> tuple[str | int | None, ...]:
    return (
        exposure.shop,
        exposure.request_id,
        exposure.time,
        exposure.placement,
        exposure.user_id,
        exposure.visitor_id,
        exposure.experiment,
        exposure.variant,
        exposure.view,
        json.dumps(dict(exposure.bundles)),
        json.dumps([_fields(item) for item in exposure.items]),
        json.dumps([_fields(degradation) for degradation in exposure.degraded]),
    )


def _fields(part: ExposedItem | Degradation) -> dict[str, object]:
    return {name: getattr(part, name) for name in part.__slots__}


async def _deleted(connection: AsyncConnection, shop: str, exposures: Sequence[Exposure]) -> People | None:
    """Return who of those that a shop showed something to was deleted; nobody is before the commit.

    None where the shop itself was.
    """
    lock = select(SHOPS.c.id).where(SHOPS.c.id == shop).with_for_update(read=True, key_share=True)
    if (await connection.execute(lock)).scalar() is None:
        return None
    shown = [exposure for exposure in exposures if exposure.shop == shop]
    return await find_deleted(connection=connection, shop=shop, named=People.of(shown))

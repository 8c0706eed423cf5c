"""The exposure log: exposures are written off the request path, many in each commit.

A page that is served again with the same items counts as one exposure. If it is served again with other
items, the last version counts, and the earlier one is kept as superseded.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, NamedTuple

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.bulk import insert_rows
from endcap.catalog.database.engine import Database
from endcap.catalog.database.group_commit import GroupCommit
from endcap.catalog.database.membership import is_among
from endcap.catalog.database.tables import EXPOSURES, SHOPS
from endcap.catalog.events.exposures import Exposure, unit_digest
from endcap.catalog.people.deleted_people import People, find_deleted
from endcap.sdk.errors import EndcapError, Unavailable


GROUP_SIZE = 500
"""The largest number of exposures in a commit."""

PAUSE = 0.1
"""Seconds between commits; a commit for each call would take as long as the call itself."""

RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt at a commit that the database rejected."""

QUEUE_SIZE = 10_000
"""Exposures that may wait for a commit."""

_LOG_SECONDS = 1.0  # from the first loss to the log line that counts this loss and later ones

_log = structlog.get_logger(__name__)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class ExposureLog:
    """Writes exposures in groups. Create it in the event loop, and close it."""

    def __init__(self, database: Database, *, on_lost: Callable[[int], None] = lambda _count: None) -> None:
        """Start writing.

        Args:
            database: Where exposures go.
            on_lost: Called with the number of exposures that are lost because too many waited or the database
                rejected them repeatedly.
        """
        self._database = database
        self._on_lost = on_lost
        self._lost: dict[str, int] = {}  # by cause, not logged yet
        self._commits = GroupCommit(
            self._commit,
            group_size=GROUP_SIZE,
            queue_size=QUEUE_SIZE,
            pause=PAUSE,
            retries=RETRIES,
            on_dropped=self._lose,
        )

    def record(self, exposure: Exposure) -> None:
        """Queue an exposure, which is dropped if its user or shop was deleted; never wait, never fail."""
        self._commits.offer(exposure)

    async def close(self) -> None:
        """Write the waiting exposures, then stop."""
        await self._commits.close()
        self._log_losses()

    def _lose(self, count: int, cause: str) -> None:
        self._on_lost(count)
        if not self._lost:
            asyncio.get_running_loop().call_later(_LOG_SECONDS, self._log_losses)
        self._lost[cause] = self._lost.get(cause, 0) + count

    def _log_losses(self) -> None:
        lost, self._lost = self._lost, {}
        for cause, count in lost.items():
            _log.error("exposures lost", exposures=count, cause=cause)

    async def _commit(self, exposures: Sequence[Exposure]) -> list[EndcapError | None]:
        by_shop: dict[str, list[Exposure]] = {}
        for exposure in exposures:
            by_shop.setdefault(exposure.shop, []).append(exposure)
        async with self._database.write() as connection:
            for shop in sorted(by_shop):
                await _store(connection, shop, by_shop[shop])
        return [None] * len(exposures)


class _ExposureKey(NamedTuple):
    """Identifies an exposure within its shop."""

    request_id: str
    placement: str
    unit: bytes
    page: int


async def _store(connection: AsyncConnection, shop: str, exposures: Sequence[Exposure]) -> None:
    """Store the exposures of one shop; drop them if the shop was deleted.

    Raises:
        Unavailable: Another process stored the same exposures at the same moment.
    """
    # The lock lasts until the commit, so no person is deleted before it.
    locked = select(SHOPS.c.token_key).where(SHOPS.c.id == shop).with_for_update(read=True, key_share=True)
    token_key = (await connection.execute(locked)).scalar()
    if token_key is None:
        return
    deleted = await find_deleted(connection=connection, shop=shop, named=People.of(exposures))
    pages: dict[_ExposureKey, list[Exposure]] = {}
    for exposure in exposures:
        if exposure.user_id in deleted.users or exposure.visitor_id in deleted.visitors:
            continue
        unit = unit_digest(token_key, exposure.user_id, exposure.visitor_id)
        key = _ExposureKey(exposure.request_id, exposure.placement, unit, exposure.page)
        served = pages.setdefault(key, [])
        if not served or _item_ids(served[-1]) != _item_ids(exposure):
            served.append(exposure)
    for served in pages.values():
        served.sort(key=lambda each: each.time)
    former = [(key, each) for key, served in pages.items() for each in served[:-1]]
    # Nearly always all exposures are new, and a query for known ones would take as long as storing them.
    if await _insert(connection, [(key, served[-1]) for key, served in pages.items()]) < len(pages):
        former += await _supersede(connection, shop, pages)
    await _insert(connection, former, superseded=True)


async def _supersede(
    connection: AsyncConnection, shop: str, pages: Mapping[_ExposureKey, Sequence[Exposure]]
) -> list[tuple[_ExposureKey, Exposure]]:
    """Replace the stored exposure of each page by the last one served, unless both have the same items.

    Returns:
        The exposures that are older than the stored ones.
    """
    stored = await _stored(connection, shop, pages.keys())
    others = {key: served[-1] for key, served in pages.items() if not _is_stored(served, stored[key])}
    newer = {key: each for key, each in others.items() if stored[key].time <= each.time}
    replaced = is_among(connection, EXPOSURES.c.sequence, [stored[key].sequence for key in newer])
    await connection.execute(update(EXPOSURES).where(replaced).values(superseded=True))
    if await _insert(connection, newer.items()) < len(newer):
        raise _meanwhile()
    return [(key, each) for key, each in others.items() if key not in newer]


def _is_stored(served: Sequence[Exposure], stored: "_StoredExposure") -> bool:
    """Return whether the last exposure of a page repeats the stored one, with no other served in between."""
    same = stored.item_ids == _item_ids(served[-1])
    return same and (len(served) == 1 or stored.time == served[-1].time)


async def _stored(
    connection: AsyncConnection, shop: str, keys: AbstractSet[_ExposureKey]
) -> dict[_ExposureKey, "_StoredExposure"]:
    """Return the exposures that are stored under keys and not superseded.

    Raises:
        Unavailable: Another process superseded or deleted an exposure meanwhile.
    """
    column = EXPOSURES.c
    # A caller may send the same request id always, so the units narrow the search down.
    query = select(*(column[name] for name in (*_ExposureKey._fields, *_StoredExposure._fields))).where(
        column.shop == shop,
        ~column.superseded,
        is_among(connection, column.request_id, list({key.request_id for key in keys})),
        is_among(connection, column.placement, list({key.placement for key in keys})),
        is_among(connection, column.unit, list({key.unit for key in keys})),
    )
    found = {
        _ExposureKey(request_id, placement, unit, page): _StoredExposure(*values)
        for request_id, placement, unit, page, *values in await connection.execute(query)
    }
    if not found.keys() >= keys:
        raise _meanwhile()
    return found


class _StoredExposure(NamedTuple):
    sequence: int
    time: int
    item_ids: list[str]


def _meanwhile() -> Unavailable:
    return Unavailable("another process recorded the same exposures at the same moment: try again")


async def _insert(
    connection: AsyncConnection,
    exposures: Iterable[tuple[_ExposureKey, Exposure]],
    *,
    superseded: bool = False,
) -> int:
    # Sorted by key, two writers of the same exposures cannot wait for each other in both directions.
    rows = [_row(key, exposure, superseded) for key, exposure in sorted(exposures, key=lambda pair: pair[0])]
    return await insert_rows(connection=connection, table=EXPOSURES, rows=rows, changed=())


def _item_ids(exposure: Exposure) -> list[str]:
    return [item.item_id for item in exposure.items]


def _row(key: _ExposureKey, exposure: Exposure, superseded: bool) -> tuple[Any, ...]:
    sources = groupby((item.strategy, item.bundle) for item in exposure.items)
    log_propensities = [item.log_propensity for item in exposure.items]
    return (
        exposure.shop,
        exposure.request_id,
        exposure.placement,
        key.unit,
        exposure.page,
        superseded,
        exposure.time,
        exposure.user_id,
        exposure.visitor_id,
        exposure.query,
        exposure.language,
        exposure.device,
        exposure.view,
        _encode(dict(exposure.bundles)),
        exposure.configuration,
        _encode([[each.experiment, each.variant, each.propensity] for each in exposure.assignments]),
        exposure.candidates,
        _encode(_item_ids(exposure)),
        _encode([[*source, len(list(items))] for source, items in sources]),
        _encode([] if set(log_propensities) <= {None} else log_propensities),
        _encode([{"strategy": each.strategy, "cause": each.cause} for each in exposure.degraded]),
    )

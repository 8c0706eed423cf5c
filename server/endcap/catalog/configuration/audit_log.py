"""The audit log of placements: who changed what, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.placements import Placement, placement_from_json, placement_to_json
from endcap.catalog.database.tables import PLACEMENT_CHANGES


@dataclass(frozen=True, slots=True)
class PlacementChange:
    """One entry of the log."""

    placement_id: str

    revision: int
    """Revision of the shop that holds the change; no other change of the shop has it."""

    time: int
    """Unix milliseconds."""

    before: Placement | None
    """The placement before; None where the change created it."""

    after: Placement | None
    """The placement after; None where the change deleted it."""

    actor: str = ""
    """The actor who made the change; empty if the call named none."""

    request_id: str = ""
    """The id of the call that made the change."""


async def record_change(*, connection: AsyncConnection, shop: str, change: PlacementChange) -> None:
    """Write an entry, in the transaction that makes the change."""
    values = {
        "shop": shop,
        "placement": change.placement_id,
        "revision": change.revision,
        "time": change.time,
        "before": change.before and placement_to_json(change.before),
        "after": change.after and placement_to_json(change.after),
        "actor": change.actor,
        "request_id": change.request_id,
    }
    await connection.execute(insert(PLACEMENT_CHANGES).values(values))


async def list_changes(
    *,
    connection: AsyncConnection,
    shop: str,
    limit: int,
    placement_id: str = "",
    below_revision: int | None = None,
) -> list[PlacementChange]:
    """Return changes, the newest first.

    Args:
        connection: A connection that reads.
        shop: The shop's id.
        limit: The largest number to return.
        placement_id: The placement whose changes to return; empty for all placements.
        below_revision: Return only changes of earlier revisions; None for the newest changes.
    """
    query = (
        select(PLACEMENT_CHANGES)
        .where(PLACEMENT_CHANGES.c.shop == shop)
        .order_by(PLACEMENT_CHANGES.c.revision.desc())
        .limit(limit)
    )
    if placement_id:
        query = query.where(PLACEMENT_CHANGES.c.placement == placement_id)
    if below_revision is not None:
        query = query.where(PLACEMENT_CHANGES.c.revision < below_revision)
    return [_change(row) for row in (await connection.execute(query)).mappings()]


def _change(row: Mapping[Any, Any]) -> PlacementChange:
    return PlacementChange(
        placement_id=row["placement"],
        revision=row["revision"],
        time=row["time"],
        before=row["before"] and placement_from_json(row["before"]),
        after=row["after"] and placement_from_json(row["after"]),
        actor=row["actor"],
        request_id=row["request_id"],
    )

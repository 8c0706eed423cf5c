"""Placements: the named spots of a shop, each with its task, fallback ladder and rules."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.rules import Rule, rule_from_json, rule_to_json
from endcap.catalog.database.bulk import upsert
from endcap.catalog.database.revisions import advance_revision
from endcap.catalog.database.tables import PLACEMENTS
from endcap.sdk.errors import NotFound
from endcap.sdk.query import Task


@dataclass(frozen=True, slots=True)
class RungSpec:
    """One strategy of a fallback ladder."""

    strategy: str

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by name."""

    timeout: int | None = None
    """Milliseconds that the strategy may take; None for the time that the deadline leaves."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A named spot in the shop."""

    id: str
    task: Task

    ladder: tuple[RungSpec, ...]
    """The strategies, in the order in which they are asked."""

    display_name: str = ""

    exclude_seen: bool = True
    """Whether items of the user's past are left out."""

    seen_types: tuple[str, ...] = ("purchase",)
    """The event types that make an item seen."""

    seen_window: int | None = None
    """Milliseconds after an event during which its item counts as seen; None for ever."""

    page_size: int = 10
    """The page size if the request does not set one."""

    filter: str = ""
    """Condition that every item must meet, in the AIP-160 grammar."""

    rules: tuple[Rule, ...] = ()
    """The rules of every answer; ``Rule`` describes their order."""

    created_time: int = 0
    """Unix milliseconds. ``put_placement`` sets this field and the next two."""

    updated_time: int = 0
    revision: int = 0

    @property
    def etag(self) -> str:
        """Identifies the stored state."""
        return str(self.revision)


SHOWS_SEEN = frozenset({Task.RECENTLY_VIEWED, Task.SEARCH, Task.RANK})
"""The tasks whose placements show items of the user's past unless their settings exclude them."""

_FOR_A_USER = (RungSpec("hybrid"), RungSpec("ease"), RungSpec("cold_start"), RungSpec("popular"))
_ITEM_KNN_THEN_POPULAR = (RungSpec("item_knn"), RungSpec("popular"))

DEFAULT_PLACEMENTS = (
    Placement("home", Task.FOR_YOU, _FOR_A_USER, "Home page"),
    Placement("product", Task.SIMILAR, (RungSpec("content"), *_ITEM_KNN_THEN_POPULAR), "Product page"),
    Placement("cart", Task.RELATED, _ITEM_KNN_THEN_POPULAR, "Cart"),
    Placement("trending", Task.TRENDING, (RungSpec("popular"),), "Trending"),
    Placement(
        "recently-viewed",
        Task.RECENTLY_VIEWED,
        (RungSpec("recently_viewed"),),
        "Recently viewed",
        exclude_seen=False,
    ),
    Placement(
        "rank",
        Task.RANK,
        _FOR_A_USER,
        "Order of a given list",
        exclude_seen=False,
    ),
    Placement("search", Task.SEARCH, (RungSpec("search"), RungSpec("popular")), "Search", exclude_seen=False),
)
"""The placements of a new shop."""

_SETTINGS = ("display_name", "exclude_seen", "seen_types", "seen_window", "page_size", "filter")


async def get_placement(*, connection: AsyncConnection, shop: str, placement_id: str) -> Placement:
    """Return one placement.

    Raises:
        NotFound: The shop has no placement of that id.
    """
    placement = await find_placement(connection=connection, shop=shop, placement_id=placement_id)
    if placement is None:
        raise NotFound(f"placement {placement_id!r} does not exist: create it, or ask for another placement")
    return placement


async def find_placement(*, connection: AsyncConnection, shop: str, placement_id: str) -> Placement | None:
    """Return one placement, or None if the shop has no placement of that id."""
    query = select(PLACEMENTS).where(PLACEMENTS.c.shop == shop, PLACEMENTS.c.id == placement_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else placement_from_json(row)


async def list_placements(
    *, connection: AsyncConnection, shop: str, after: str = "", limit: int | None = None
) -> list[Placement]:
    """Return the placements of a shop, by id.

    Args:
        connection: A connection that reads.
        shop: The shop's id.
        after: The last id of the previous page; empty for the first page.
        limit: The largest number to return; None for all.
    """
    query = (
        select(PLACEMENTS)
        .where(PLACEMENTS.c.shop == shop, PLACEMENTS.c.id > after)
        .order_by(PLACEMENTS.c.id)
        .limit(limit)
    )
    return [placement_from_json(row) for row in (await connection.execute(query)).mappings()]


async def put_placement(
    *, connection: AsyncConnection, shop: str, placement: Placement, now: int
) -> Placement:
    """Create a placement, or replace the placement of the same id.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        placement: The placement to store; its times and revision are ignored.
        now: Unix milliseconds.

    Returns:
        The placement as stored.

    Raises:
        NotFound: The shop does not exist.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    before = await find_placement(connection=connection, shop=shop, placement_id=placement.id)
    created = now if before is None else before.created_time
    placement = replace(placement, created_time=created, updated_time=now, revision=revision)
    await insert_placements(connection=connection, shop=shop, placements=[placement])
    return placement


async def delete_placement(*, connection: AsyncConnection, shop: str, placement_id: str) -> int:
    """Delete a placement and return the shop's new revision.

    Raises:
        NotFound: The shop has no placement of that id.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    statement = delete(PLACEMENTS).where(PLACEMENTS.c.shop == shop, PLACEMENTS.c.id == placement_id)
    if not (await connection.execute(statement)).rowcount:
        raise NotFound(f"placement {placement_id!r} does not exist: list the placements to see their ids")
    return revision


async def insert_placements(
    *, connection: AsyncConnection, shop: str, placements: Iterable[Placement]
) -> None:
    """Store placements unchanged; they replace placements of the same ids."""
    values = [{"shop": shop} | placement_to_json(placement) for placement in placements]
    await upsert(connection=connection, table=PLACEMENTS, values=values)


def placement_to_json(placement: Placement) -> dict[str, Any]:
    """Return a placement as JSON values, by the columns that hold them."""
    return {
        "id": placement.id,
        "task": placement.task.value,
        "ladder": [asdict(rung) for rung in placement.ladder],
        "settings": {name: getattr(placement, name) for name in _SETTINGS}
        | {"rules": [rule_to_json(rule) for rule in placement.rules]},
        "created_time": placement.created_time,
        "updated_time": placement.updated_time,
        "revision": placement.revision,
    }


def placement_from_json(values: Mapping[Any, Any]) -> Placement:
    """Return the placement that ``placement_to_json`` encoded."""
    settings = dict(values["settings"])
    return Placement(
        id=values["id"],
        task=Task(values["task"]),
        ladder=tuple(RungSpec(**rung) for rung in values["ladder"]),
        seen_types=tuple(settings.pop("seen_types")),
        rules=tuple(map(rule_from_json, settings.pop("rules", ()))),
        created_time=values["created_time"],
        updated_time=values["updated_time"],
        revision=values["revision"],
        **settings,
    )

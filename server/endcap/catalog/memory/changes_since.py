"""The changes of a shop, for a process that holds an earlier revision of the shop."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.bundles import swap_revisions
from endcap.catalog.configuration.shops import ShopRecord, get_shop
from endcap.catalog.database.revisions import revisions_after
from endcap.catalog.database.tables import ITEM_WRITES, PLACEMENT_CHANGES
from endcap.catalog.events.events import Event, events_after
from endcap.catalog.events.reversals import taken_back_after
from endcap.catalog.items.write_log import ItemRow, changed_items


@dataclass(frozen=True, slots=True)
class ShopChanges:
    """The changes of a shop after one revision, up to another."""

    shop: ShopRecord
    """The shop at the later revision."""

    events: Mapping[int, Sequence[Event]]
    """By revision, the new events and then those that they took back."""

    rebuilds: AbstractSet[int]
    """Revisions that changed bundles or placements."""

    item_writes: AbstractSet[int]
    """Revisions that wrote items."""

    items: Sequence[ItemRow]
    """The current state of the items that were written."""

    @property
    def revisions(self) -> AbstractSet[int]:
        """The revisions whose changes are known."""
        return self.events.keys() | self.rebuilds | self.item_writes


async def read_changes_since(*, connection: AsyncConnection, shop: str, revision: int) -> ShopChanges:
    """Return the changes of a shop after a revision.

    Args:
        connection: A connection that reads.
        shop: The shop's id.
        revision: The earlier revision.

    Raises:
        NotFound: The shop does not exist.
    """
    about = await get_shop(connection=connection, shop=shop)
    events: dict[int, list[Event]] = {}
    for own, event in (new := await events_after(connection=connection, shop=shop, revision=revision)):
        events.setdefault(own, []).append(event)
    for event in await taken_back_after(
        connection=connection, shop=shop, revision=revision, events=[event for _, event in new]
    ):
        events.setdefault(event.reversed_revision or 0, []).append(event)
    swaps = await swap_revisions(connection=connection, shop=shop, revision=revision)
    changes = await revisions_after(
        connection=connection, table=PLACEMENT_CHANGES, shop=shop, revision=revision
    )
    item_writes = await revisions_after(
        connection=connection, table=ITEM_WRITES, shop=shop, revision=revision
    )
    items: Sequence[ItemRow] = ()
    if item_writes:
        items = await changed_items(connection=connection, shop=shop, revision=revision)
    return ShopChanges(about, events, swaps | changes, item_writes, items)

"""Updating the view of a shop with the items that were written since it was built."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.configuration.attribute_definitions import counting
from endcap.catalog.configuration.shops import ShopRecord
from endcap.catalog.fields.attributes import load_attributes
from endcap.catalog.fields.money import to_units
from endcap.catalog.items.write_log import ItemRow
from endcap.catalog.memory.schedules import Schedule
from endcap.catalog.memory.user_counts import UserCounts
from endcap.sdk import NO_ROWS, Rows
from endcap.sdk.catalog_view import CatalogView, EventColumns, ItemColumns, build_view, usual_prices
from endcap.sdk.view_updates import padded, update_view
from endcap.sdk.vocabulary import frozen


@dataclass(frozen=True, slots=True, eq=False)
class TimedView:
    """The items of a shop at one revision, with their availability at one moment."""

    view: CatalogView
    schedule: Schedule

    changes_at: int
    """Unix milliseconds of the next moment at which the availability changes."""

    revision: int
    """The shop's revision of the last write of items."""

    counts: UserCounts
    """The user counts of the view, which have their own revision."""

    def expired(self, now: int) -> Rows:
        """Return the rows that are available in the view but have expired at a moment.

        Args:
            now: Unix milliseconds of the moment.
        """
        if now < self.changes_at:
            return NO_ROWS
        return np.flatnonzero(self.view.available & (self.schedule.ends <= now)).astype(np.int32)


def timed_view_at(timed_view: TimedView, now: int) -> TimedView:
    """Return a timed view whose availability is that of a moment.

    Args:
        timed_view: Of any moment.
        now: Unix milliseconds of the moment.
    """
    available = timed_view.schedule.available(now)
    view = timed_view.view
    if not np.array_equal(available, view.available):
        view = replace(view, available=available)
    return replace(timed_view, view=view, changes_at=timed_view.schedule.next_change(now))


def with_counts(timed_view: TimedView, shop: str, counts: UserCounts) -> TimedView:
    """Return a timed view whose view has other counts, and shares all else.

    Args:
        timed_view: The items.
        shop: The shop's id.
        counts: The user counts; they have fewer rows than the view if some items are new.
    """
    users_by_age, users_by_week = (
        {event_type: padded(users, len(timed_view.view), blank=0) for event_type, users in by_type.items()}
        for by_type in (counts.users_by_age, counts.users_by_week)
    )
    view = replace(
        timed_view.view,
        version=view_version(shop, timed_view.revision, counts.revision),
        as_of=counts.as_of,
        users_by_age=MappingProxyType(users_by_age),
        users_by_week=MappingProxyType(users_by_week),
    )
    return replace(timed_view, view=view, counts=counts)


def with_paid_prices(timed_view: TimedView, paid_prices: NDArray[np.float64]) -> TimedView:
    """Return a timed view with other medians of paid prices, of as many rows or fewer."""
    view = timed_view.view
    paid_prices = padded(frozen(paid_prices), len(view), blank=np.nan)
    if np.array_equal(paid_prices, view.paid_prices, equal_nan=True):
        return timed_view
    usual = usual_prices(view.original_prices, paid_prices)
    return replace(timed_view, view=replace(view, paid_prices=paid_prices, usual_prices=usual))


def update_timed_view(
    timed_view: TimedView, shop: ShopRecord, items: Sequence[ItemRow], *, now: int
) -> TimedView | None:
    """Return the timed view of a shop at a later revision.

    Args:
        timed_view: The timed view before.
        shop: The shop at the later revision.
        items: The items written after the earlier revision, in the order of the rows.
        now: Unix milliseconds of the moment of availability.

    Returns:
        The timed view; None if the shop must be loaded again, as for ``update_view``.
    """
    rows = np.array([item.position for item in items], np.int32)
    schedule = timed_view.schedule.updated(rows, items)
    changed = build_view(
        item_columns(items, shop, schedule.available(now)[rows]),
        EventColumns.none(),
        version="",
        as_of=timed_view.view.as_of,
    )
    version = view_version(shop.id, shop.revision, timed_view.counts.revision)
    view = update_view(timed_view.view, changed, rows, version=version)
    if view is None:
        return None
    return timed_view_at(replace(timed_view, view=view, schedule=schedule, revision=shop.revision), now)


def item_columns(items: Sequence[ItemRow], shop: ShopRecord, available: NDArray[np.bool_]) -> ItemColumns:
    """Convert items to columns.

    Args:
        items: Rows of ``select_items``.
        shop: The shop. Amounts in another currency than the shop's are unknown, and attribute values of
            another type than defined are left out.
        available: Whether each item can be bought.
    """
    return ItemColumns(
        ids=[item.id for item in items],
        titles=[item.title for item in items],
        categories=[item.categories for item in items],
        prices=_prices(items, "price_nanos", shop.currency),
        available=available,
        created=np.array([item.created_time for item in items], np.int64),
        descriptions=[item.description for item in items],
        brands=[item.brand for item in items],
        availabilities=[item.availability for item in items],
        tags=[item.tags for item in items],
        group_ids=[item.group_id for item in items],
        original_prices=_prices(items, "original_price_nanos", shop.currency),
        costs=_prices(items, "cost_nanos", shop.currency),
        attributes=[counting(load_attributes(item.attributes), shop.attributes) for item in items],
        deleted=np.array([item.deleted for item in items], np.bool_),
        currencies=[item.currency or shop.currency for item in items],
        revisions=np.array([item.revision for item in items], np.int64),
    )


def view_version(shop: str, items: int, counts: int) -> str:
    """Return the name of a shop's view; two views of one name have the same content.

    Args:
        shop: The shop's id.
        items: The revision of the last write of items.
        counts: The last revision whose events are counted.
    """
    return f"{shop}@{max(items, counts)}" + (f"/{counts}" if counts < items else "")


def _prices(items: Sequence[ItemRow], column: str, currency: str) -> NDArray[np.float64]:
    """Return amounts in the shop's currency; NaN for missing amounts and other currencies."""
    amounts = [getattr(item, column) if item.currency in {"", currency} else None for item in items]
    return np.array([np.nan if nanos is None else to_units(nanos) for nanos in amounts], np.float64)

"""Brings a view up to date: the new view shares every column that has not changed with the old one."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import (
    ARRAY_BLANKS,
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    AttributeColumn,
    CatalogView,
    Labels,
    first_of_group,
    usual_prices,
)
from endcap.sdk.vocabulary import Rows, Vocabulary, frozen


_Array = TypeVar("_Array", bound=NDArray[Any])


def update_view(view: CatalogView, changed: CatalogView, rows: Rows, *, version: str) -> CatalogView | None:
    """Return a view in which some items are others, and further ones follow the last row.

    It says what ``build_view`` would say of all items. What was counted of events, and what was paid, stays
    as it is until the view is built again; an item that is new starts from nothing.

    Args:
        view: The view before.
        changed: A view of nothing but the items that have changed or are new.
        rows: The row of each of them, ascending; those of new ones follow the last row without a gap.
        version: Names the new view.

    Returns:
        None if the view must be built anew: an attribute was of numbers and is not any more, or the other way
        round, so other items of the view have values under its name that the view does not hold.

    Raises:
        ValueError: The rows are not ascending, or new rows leave a gap.
    """
    count = max(len(view), int(rows.max(initial=-1)) + 1)
    added = int(np.searchsorted(rows, len(view)))
    if (np.diff(rows) <= 0).any() or not np.array_equal(rows[added:], np.arange(len(view), count)):
        raise ValueError("the rows must ascend, and those of new items follow the last row without a gap")
    attributes = _attributes(view, changed, rows, count)
    if attributes is None:
        return None
    columns: dict[str, Any] = {"attributes": MappingProxyType(attributes)}
    for name, blank in ARRAY_BLANKS.items():
        columns[name] = _replaced(getattr(view, name), getattr(changed, name), rows, count, blank=blank)
    for name in TEXT_COLUMNS:
        columns[name] = _replaced_texts(getattr(view, name), getattr(changed, name), rows)
    for name in LABEL_COLUMNS:
        columns[name] = _replaced_labels(getattr(view, name), getattr(changed, name), rows, count)
    original_prices, paid_prices = columns["original_prices"], padded(view.paid_prices, count, blank=np.nan)
    same_prices = original_prices is view.original_prices and paid_prices is view.paid_prices
    groups = _groups(view, columns["group_ids"], changed.group_ids, rows)
    return replace(
        view,
        version=version,
        vocabulary=_vocabulary(view, changed, added),
        groups=groups,
        has_groups=bool((groups != np.arange(count)).any()),
        paid_prices=paid_prices,
        usual_prices=view.usual_prices if same_prices else usual_prices(original_prices, paid_prices),
        users_by_age=MappingProxyType(
            {event_type: padded(users, count, blank=0) for event_type, users in view.users_by_age.items()}
        ),
        users_by_week=MappingProxyType(
            {event_type: padded(users, count, blank=0) for event_type, users in view.users_by_week.items()}
        ),
        **columns,
    )


def _groups(view: CatalogView, group_ids: tuple[str, ...], new: Sequence[str], rows: Rows) -> Rows:
    if all(
        view.group_ids[row] == group if row < len(view) else not group
        for row, group in zip(rows.tolist(), new, strict=True)
    ):
        alone = np.arange(len(view), len(group_ids), dtype=np.int32)
        return frozen(np.concatenate([view.groups, alone])) if len(alone) else view.groups
    return frozen(first_of_group(group_ids))


def _vocabulary(view: CatalogView, changed: CatalogView, added: int) -> Vocabulary:
    ids = changed.vocabulary.ids[added:]
    return view.vocabulary.extended(ids) if ids else view.vocabulary


def _attributes(
    view: CatalogView, changed: CatalogView, rows: Rows, count: int
) -> dict[str, AttributeColumn] | None:
    """Return every attribute as a column, or None where one has another type than before."""
    columns: dict[str, AttributeColumn] = {}
    for name in sorted(view.attributes.keys() | changed.attributes.keys()):
        old, new = view.attributes.get(name), changed.attributes.get(name)
        if old is not None and new is not None and isinstance(old, Labels) != isinstance(new, Labels):
            return None
        if isinstance(old, Labels) or isinstance(new, Labels):
            labels = _replaced_labels(_long(old, len(view)), _long(new, len(rows)), rows, count)
            if labels.names:
                columns[name] = labels
        else:
            numbers = _replaced(_numbers(old, len(view)), _numbers(new, len(rows)), rows, count, blank=np.nan)
            if not np.isnan(numbers).all():
                columns[name] = numbers
    return columns


def _long(labels: AttributeColumn | None, count: int) -> Labels:
    """Return labels as they are, or those of ``count`` rows without any where the attribute is missing."""
    return labels if isinstance(labels, Labels) else Labels.of([()] * count)


def _numbers(column: AttributeColumn | None, count: int) -> NDArray[np.float64]:
    """Return numbers as they are, or NaN for ``count`` rows where the attribute is missing."""
    return column if isinstance(column, np.ndarray) else np.full(count, np.nan)


def padded(column: _Array, count: int, *, blank: object) -> _Array:
    """Return a column whose last axis has ``count`` places."""
    missing = count - column.shape[-1]
    if not missing:
        return column
    width = [(0, 0)] * (column.ndim - 1) + [(0, missing)]
    return frozen(np.pad(column, width, constant_values=blank))  # type: ignore[call-overload, no-any-return]


def _replaced(old: _Array, new: _Array, rows: Rows, count: int, *, blank: object) -> _Array:
    if len(old) == count and np.array_equal(old[rows], new, equal_nan=old.dtype.kind == "f"):
        return old
    column = padded(old, count, blank=blank).copy()
    column[rows] = new
    return frozen(column)


def _replaced_texts(old: tuple[str, ...], new: Sequence[str], rows: Rows) -> tuple[str, ...]:
    places = rows.tolist()
    if all(row < len(old) and old[row] == text for row, text in zip(places, new, strict=True)):
        return old
    column = [*old, *(("",) * (max(places) + 1 - len(old)))]
    for row, text in zip(places, new, strict=True):
        column[row] = text
    return tuple(column)


def _replaced_labels(old: Labels, new: Labels, rows: Rows, count: int) -> Labels:
    known = len(old.offsets) - 1
    names, of_old, of_new = _merged_names(old.names, new.names)
    if count == known and names is old.names and _carry(old, rows, of_new[new.codes], new.offsets):
        return old
    old_codes, new_codes = old.codes if names is old.names else of_old[old.codes], of_new[new.codes]
    if rows.min(initial=known) == known:  # further rows, and nothing else
        offsets = np.concatenate([old.offsets, old.offsets[-1] + new.offsets[1:]])
        return Labels(names, frozen(np.concatenate([old_codes, new_codes])), frozen(offsets))
    is_new = np.zeros(count, np.bool_)
    is_new[rows] = True
    lengths = np.zeros(count, np.int64)
    lengths[:known] = np.diff(old.offsets)
    kept = np.repeat(~is_new[:known], lengths[:known])
    lengths[rows] = np.diff(new.offsets)
    codes = np.empty(lengths.sum(), np.int32)
    own = np.repeat(is_new, lengths)
    codes[~own] = old_codes[kept]
    codes[own] = new_codes
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _without_unused(Labels(names, frozen(codes), frozen(offsets)))


def _carry(labels: Labels, rows: Rows, codes: NDArray[np.int32], offsets: NDArray[np.int64]) -> bool:
    """Return whether rows have exactly the given codes, which lie as those of ``Labels`` do."""
    starts, lengths = labels.offsets[rows], labels.offsets[rows + 1] - labels.offsets[rows]
    if not np.array_equal(lengths, np.diff(offsets)):
        return False
    places = np.arange(len(codes)) + np.repeat(starts - offsets[:-1], lengths)
    return np.array_equal(labels.codes[places], codes)


def _merged_names(
    old: tuple[str, ...], new: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.int32], NDArray[np.int32]]:
    """Return all names, sorted, and the places of the old and of the new ones among them."""
    places = [bisect_left(old, name) for name in new]
    is_missing = np.array(
        [place == len(old) or old[place] != name for place, name in zip(places, new, strict=True)], np.bool_
    )
    before = np.array(places, np.int64)
    missing = before[is_missing]
    of_old = np.arange(len(old)) + np.searchsorted(missing, np.arange(len(old)), side="right")
    of_new = before + np.cumsum(is_missing) - is_missing
    if not len(missing):
        return old, of_old.astype(np.int32), of_new.astype(np.int32)
    names = sorted((*old, *(name for name, is_one in zip(new, is_missing, strict=True) if is_one)))
    return tuple(names), of_old.astype(np.int32), of_new.astype(np.int32)


def _without_unused(labels: Labels) -> Labels:
    """Leave out the names that no row carries any more."""
    used = np.bincount(labels.codes, minlength=len(labels.names)) > 0
    if used.all():
        return labels
    names = tuple(compress(labels.names, used.tolist()))
    codes = (np.cumsum(used) - 1)[labels.codes].astype(np.int32)
    return Labels(names, frozen(codes), labels.offsets)

"""The catalog as a strategy sees it: an immutable, columnar view of one shop at one moment."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.features import AGE_BUCKETS
from endcap.sdk.user_counting import count_users, count_weekly_users
from endcap.sdk.vocabulary import NO_VALUES, Rows, Vocabulary, frozen, values_or_none


EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0, "rating": 5.0}
)
"""The weight of an event of each type as evidence of preference, unless the shop sets another."""

ARRAY_BLANKS: Mapping[str, float] = MappingProxyType(
    {
        "prices": np.nan,
        "original_prices": np.nan,
        "costs": np.nan,
        "available": False,
        "deleted": False,
        "created": 0,
        "revisions": 0,
    }
)
"""The columns of a view that are arrays taken over from the items, and the value of a row without any."""

TEXT_COLUMNS = ("titles", "descriptions", "group_ids")
"""The columns of a view that are texts taken over from the items; empty where there is none."""

LABEL_COLUMNS = ("categories", "tags", "brands", "availabilities", "currencies")
"""The columns of a view that are labels."""

_NO_PRICES: NDArray[np.float64] = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A set of names a row, stored flat: the categories of every item."""

    names: tuple[str, ...]
    """Every name, sorted."""

    codes: NDArray[np.int32]
    """Indices into ``names``, row after row."""

    offsets: NDArray[np.int64]
    """Row ``r`` owns ``codes[offsets[r]:offsets[r + 1]]``; ``(rows + 1,)``."""

    @classmethod
    def of(cls, labels: Sequence[Iterable[str]]) -> Self:
        """Build from one collection of names a row."""
        names = tuple(sorted({name for row in labels for name in row}))
        index = {name: code for code, name in enumerate(names)}
        codes = [sorted({index[name] for name in row}) for row in labels]
        offsets = np.zeros(len(labels) + 1, np.int64)
        np.cumsum([len(row) for row in codes], out=offsets[1:])
        flat = np.array([code for row in codes for code in row], np.int32)
        return cls(names, frozen(flat), frozen(offsets))

    def of_row(self, row: int) -> tuple[str, ...]:
        """Return the names of one row."""
        return tuple(self.names[code] for code in self.codes[self.offsets[row] : self.offsets[row + 1]])

    def sharing(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return a mask of the rows that carry at least one of ``names``."""
        wanted = set(names)
        return self.chosen(np.fromiter((name in wanted for name in self.names), np.bool_, len(self.names)))

    def chosen(self, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the rows that carry at least one of the chosen names: a truth value a name."""
        counts = np.zeros(len(self.codes) + 1, np.int32)
        np.cumsum(which[self.codes], out=counts[1:])
        before = counts[self.offsets]
        mask: NDArray[np.bool_] = before[1:] > before[:-1]
        return mask


AttributeValue: TypeAlias = str | bool | float | Sequence[str]
"""The value of an item's attribute: a text, a boolean, a number, or several texts."""

AttributeColumn: TypeAlias = Labels | NDArray[np.float64]
"""One attribute of every row: numbers as float64, NaN where there is none; anything else as labels."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemColumns:
    """The items of a shop, column by column; every column is as long as ``ids``, or empty for blanks."""

    ids: Sequence[str]
    titles: Sequence[str]
    categories: Sequence[Iterable[str]]

    prices: NDArray[np.float64]
    """In the shop's currency; NaN where unknown."""

    available: NDArray[np.bool_]
    """True where the item can be bought; False for a deleted item, whose row stays."""

    created: NDArray[np.int64]
    """Unix milliseconds."""

    descriptions: Sequence[str] = ()

    brands: Sequence[str] = ()
    """Empty texts where there is none."""

    availabilities: Sequence[str] = ()
    """The availability in the words of the catalog, such as ``in_stock``; empty where there is none."""

    tags: Sequence[Iterable[str]] = ()

    group_ids: Sequence[str] = ()
    """The product that an item is a variant of; empty texts where it is none."""

    original_prices: NDArray[np.float64] = field(default_factory=lambda: _NO_PRICES)
    """As ``prices``."""

    costs: NDArray[np.float64] = field(default_factory=lambda: _NO_PRICES)
    """As ``prices``."""

    attributes: Sequence[Mapping[str, AttributeValue]] = ()
    """Free attributes of each item, by name."""

    paid_prices: NDArray[np.float64] = field(default_factory=lambda: _NO_PRICES)
    """As ``prices``: the median of what was paid for each."""

    revisions: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The revision of the shop at which each was last written."""

    deleted: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """True where the shop has deleted the item; blank for none."""

    currencies: Sequence[str] = ()
    """ISO 4217 codes; empty texts where neither the item nor the shop names one. Blank for the shop's."""


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events that concern known items, column by column, in any order."""

    users: NDArray[np.int64]
    """A number a user; which number does not matter."""

    rows: Rows
    types: NDArray[np.str_]

    times: NDArray[np.int64]
    """Unix milliseconds."""

    values: NDArray[np.float32] = field(default_factory=lambda: NO_VALUES)
    """The rating of an event of type ``rating``, the quantity of another; NaN where there is none."""

    def __post_init__(self) -> None:
        """Let events whose values are not given have none."""
        object.__setattr__(self, "values", values_or_none(self.values, len(self.rows)))

    def of(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "EventColumns":
        """Return the chosen events: places, or a mask."""
        return EventColumns(
            self.users[chosen], self.rows[chosen], self.types[chosen], self.times[chosen], self.values[chosen]
        )

    @classmethod
    def none(cls) -> Self:
        """Return no events."""
        no_numbers = np.empty(0, np.int64)
        return cls(no_numbers, np.empty(0, np.int32), np.empty(0, np.str_), no_numbers)


# Strategies keep what they compute from a view as long as it lives, hence the slot for weak references. While
# events come in, counts make it another twice a second: what does not depend on them is kept by vocabulary.
@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CatalogView:
    """Everything a strategy may know of the catalog. Never write to its arrays."""

    version: str
    """Names the view; every answer carries it."""

    as_of: int
    """Unix milliseconds of the moment that the counts are taken at."""

    vocabulary: Vocabulary
    titles: tuple[str, ...]
    categories: Labels

    prices: NDArray[np.float64]
    """In the shop's currency; NaN where unknown."""

    currency: str
    """ISO 4217 code; empty when the shop has not said."""

    available: NDArray[np.bool_]

    deleted: NDArray[np.bool_]
    """Rows whose item the shop has deleted: they keep what was learned of them, and are never named."""

    created: NDArray[np.int64]
    descriptions: tuple[str, ...]

    brands: Labels
    """None or one a row."""

    availabilities: Labels
    """None or one a row, such as ``in_stock``; whether a row may be shown is what ``available`` says."""

    currencies: Labels
    """None or one a row: the ISO 4217 code that the item's own prices are in, which may be another than the
    shop's. ``prices`` then has none for it."""

    tags: Labels
    group_ids: tuple[str, ...]

    groups: Rows
    """The first row of each row's group: equal for the variants of one product, the row itself for an
    item that is none."""

    has_groups: bool
    """Whether any two rows are variants of one product."""

    original_prices: NDArray[np.float64]
    """As ``prices``: what the item cost before a reduction."""

    paid_prices: NDArray[np.float64]
    """As ``prices``: the median of what was paid."""

    usual_prices: NDArray[np.float64]
    """As ``prices``: the original price where there is one, otherwise what was paid."""

    costs: NDArray[np.float64]
    """As ``prices``: what the item costs the shop. Never part of an answer."""

    attributes: Mapping[str, AttributeColumn]

    users_by_age: Mapping[str, NDArray[np.int32]]
    """For every event type, ``(age buckets, rows)``: how many users did it to the item, each counted
    once, in the bucket of the last time. A sum over the youngest buckets is the number of distinct users
    of that period. ``features.AGE_BUCKETS`` has the buckets' edges."""

    event_weights: Mapping[str, float] = field(default_factory=lambda: EVENT_WEIGHTS)
    """The weight of each event type; an absent type weighs nothing."""

    revisions: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The revision of the shop at which each row's item was last written; zeros where nobody counts."""

    users_by_week: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    """For every event type, ``(features.WEEKS, rows)``: how many users did it to the item in each of the last
    weeks, the latest first. A user counts in every week of a visit."""

    lineage: object = field(default_factory=object)
    """The same object in all views of one shop in which a row of one revision says the same."""

    def __len__(self) -> int:
        return len(self.vocabulary)

    def with_variants(self, rows: Rows) -> Rows:
        """Return the rows together with all rows of their groups, each once, ascending."""
        if not self.has_groups or not len(rows):
            return np.unique(rows)
        return np.flatnonzero(np.isin(self.groups, self.groups[rows])).astype(np.int32)

    def changed_since(self, before: "CatalogView") -> Rows | None:
        """Return the rows whose items are not those of another view of the shop, or are not in it.

        So what was computed from an earlier view can be brought up to date. None where the two views have
        nothing to do with each other.
        """
        shared = before.attributes.keys() & self.attributes.keys()
        if self.lineage is not before.lineage or any(
            isinstance(before.attributes[name], Labels) != isinstance(self.attributes[name], Labels)
            for name in shared  # numbers and labels say other things in rows that nobody has written
        ):
            return None
        both = min(len(self), len(before))
        changed = np.ones(len(self), np.bool_)
        changed[:both] = self.revisions[:both] != before.revisions[:both]
        return np.flatnonzero(changed).astype(np.int32)

    def weighted_users_by_age(self) -> NDArray[np.float32]:
        """Return ``users_by_age`` summed over event types, each by its weight; ``(age buckets, rows)``."""
        total = np.zeros((AGE_BUCKETS, len(self)), np.float32)
        for event_type, users in self.users_by_age.items():
            total += np.float32(self.event_weights.get(event_type, 0.0)) * users
        return total


def build_view(
    items: ItemColumns,
    events: EventColumns,
    *,
    version: str,
    as_of: int,
    currency: str = "",
    event_weights: Mapping[str, float] = EVENT_WEIGHTS,
) -> CatalogView:
    """Build a view from columns; tables and snapshots both come through here.

    Args:
        items: The items; their order is the order of the rows.
        events: What users did to them; events after ``as_of`` are left out.
        version: Names the view.
        as_of: Unix milliseconds that ages are counted back from.
        currency: ISO 4217 code of the prices.
        event_weights: What an event of each type counts for.
    """
    count = len(items.ids)
    columns: dict[str, Any] = {
        name: _array(getattr(items, name), count, blank=blank) for name, blank in ARRAY_BLANKS.items()
    }
    columns |= {name: tuple(getattr(items, name)) or ("",) * count for name in TEXT_COLUMNS}
    groups = first_of_group(columns["group_ids"])
    paid_prices = _array(items.paid_prices, count, blank=np.nan)
    return CatalogView(
        version=version,
        as_of=as_of,
        vocabulary=Vocabulary(items.ids),
        categories=Labels.of(items.categories),
        currency=currency,
        brands=_codes(items.brands, count),
        availabilities=_codes(items.availabilities, count),
        currencies=_codes(items.currencies or (currency,) * count, count),
        tags=Labels.of(items.tags or [()] * count),
        groups=frozen(groups),
        has_groups=bool((groups != np.arange(count)).any()),
        paid_prices=paid_prices,
        usual_prices=usual_prices(columns["original_prices"], paid_prices),
        attributes=MappingProxyType(_attributes(items.attributes)),
        users_by_age=MappingProxyType(_by_type(count_users, events, count, as_of)),
        users_by_week=MappingProxyType(_by_type(count_weekly_users, events, count, as_of)),
        event_weights=event_weights,
        **columns,
    )


def usual_prices(
    original_prices: NDArray[np.float64], paid_prices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the original price where there is one, otherwise what was paid."""
    return frozen(np.where(np.isnan(original_prices), paid_prices, original_prices))


def first_of_group(group_ids: Sequence[str]) -> Rows:
    """Return the first row of each row's group, the row itself where its group has no id."""
    first: dict[str, int] = {}
    rows = (first.setdefault(group, row) if group else row for row, group in enumerate(group_ids))
    return np.fromiter(rows, np.int32, len(group_ids))


def _codes(codes: Sequence[str], count: int) -> Labels:
    return Labels.of([(code,) if code else () for code in codes] or [()] * count)


def _array(column: NDArray[Any], count: int, *, blank: float) -> NDArray[Any]:
    return frozen(column if len(column) else np.full(count, blank))


def _attributes(items: Sequence[Mapping[str, AttributeValue]]) -> dict[str, AttributeColumn]:
    """Turn attributes into columns, of numbers where most values are numbers and of labels where not.

    The other values count as absent. An attribute of which no item says anything is left out.
    """
    columns: dict[str, AttributeColumn] = {}
    for name in sorted({name for attributes in items for name in attributes}):
        values = [attributes.get(name) for attributes in items]
        numeric = sum(map(_is_number, values))
        if numeric and 2 * numeric >= sum(value is not None for value in values):
            numbers = [value if _is_number(value) else np.nan for value in values]
            columns[name] = frozen(np.array(numbers, np.float64))
        elif (labels := Labels.of([() if _is_number(value) else _texts(value) for value in values])).names:
            columns[name] = labels
    return columns


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: AttributeValue | None) -> Sequence[str]:
    """Return an attribute that is no number as texts: nothing, one, ``true`` or ``false``, or several."""
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (value,) if isinstance(value, str) else tuple(map(str, value))  # type: ignore[arg-type]


def _by_type(
    count: Callable[..., NDArray[np.int32]], events: EventColumns, row_count: int, as_of: int
) -> dict[str, NDArray[np.int32]]:
    counts: dict[str, NDArray[np.int32]] = {}
    for event_type in np.unique(events.types[events.times <= as_of]):
        chosen = events.types == event_type
        users, rows, times = events.users[chosen], events.rows[chosen], events.times[chosen]
        counts[str(event_type)] = count(users, rows, times, row_count, as_of)
    return counts

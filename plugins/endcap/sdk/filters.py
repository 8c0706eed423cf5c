"""Filters over a catalog view: a condition on items, parsed once, as a mask over the view's rows.

::

    parse_filter('category = "toys" AND price < 20 AND NOT brand:"Acme"').mask(view)

The grammar is ``filter_grammar``'s, the meaning of values and operators ``filter_fields``'; the fields are
those of ``ITEM_FIELDS``. A value without a field is looked for in title, brand, categories and tags,
whatever the case.

A comparison with what an item does not have is false: ``price < 20`` and ``price != 20`` both leave out an
item without a price, ``NOT price < 20`` lets it in. ``NOT brand:*`` finds the items without a brand. An
attribute that no item has matches nothing. An attribute has one type in a shop, and a value of another type
counts as absent; times among attributes are Unix milliseconds and compare with RFC 3339 texts.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import CatalogView, Labels
from endcap.sdk.filter_expression import (
    ORDERS,
    And,
    Comparison,
    Expression,
    Literal,
    Not,
    Operator,
    Or,
    Value,
    conditions,
)
from endcap.sdk.filter_fields import FieldType, check_fields, split_field
from endcap.sdk.filter_grammar import parse, refuse
from endcap.sdk.filter_texts import TextColumn
from endcap.sdk.vocabulary import Vocabulary, frozen


Mask: TypeAlias = NDArray[np.bool_]

MAX_SEARCHES = 64
"""What the conditions of a filter that look into texts may count together: 1 for each part between wildcards,
twice that in descriptions, which are long, and without a field, which is several columns."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """One text a row."""

    names: Sequence[str]

    def chosen(self, which: Mask) -> Mask:
        """Return a mask of the chosen rows, as labels do: every row has a name of its own."""
        return which


_Column: TypeAlias = _Texts | Labels | NDArray[Any]

_COLUMNS: Mapping[str, tuple[FieldType, Callable[[CatalogView], _Column]]] = {
    "id": (FieldType.TEXT, lambda view: _Texts(view.vocabulary.ids)),
    "item_id": (FieldType.TEXT, lambda view: _Texts(view.vocabulary.ids)),
    "group_id": (FieldType.TEXT, lambda view: _Texts(view.group_ids)),
    "title": (FieldType.TEXT, lambda view: _Texts(view.titles)),
    "description": (FieldType.TEXT, lambda view: _Texts(view.descriptions)),
    "brand": (FieldType.TEXT, lambda view: view.brands),
    "categories": (FieldType.TEXTS, lambda view: view.categories),
    "category": (FieldType.TEXTS, lambda view: view.categories),
    "tags": (FieldType.TEXTS, lambda view: view.tags),
    "price": (FieldType.NUMBER, lambda view: view.prices),
    "original_price": (FieldType.NUMBER, lambda view: view.original_prices),
    "currency": (FieldType.CODE, lambda view: view.currencies),
    "availability": (FieldType.CODE, lambda view: view.availabilities),
    "available": (FieldType.BOOLEAN, lambda view: view.available),
    "create_time": (FieldType.TIME, lambda view: view.created),
}

ITEM_FIELDS: Mapping[str, FieldType] = MappingProxyType(
    {name: field_type for name, (field_type, _) in _COLUMNS.items()} | {"attributes": FieldType.ATTRIBUTES}
)
"""The fields of an item that a filter may name; never what the item costs the shop."""

_SEARCHED = ("title", "brand", "categories", "tags")
"""Where a value without a field is looked for."""

_IDS = ("id", "item_id")
_TEXT_TYPES = (FieldType.TEXT, FieldType.TEXTS, FieldType.CODE, FieldType.ATTRIBUTES)

_COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.HAS: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on items; equal to any other of the same text."""

    text: str
    expression: Expression = field(repr=False, compare=False)

    def mask(self, view: CatalogView) -> Mask:
        """Return the mask of the rows of a view that meet the condition, ``(rows,)``, read-only.

        It is worked out anew each time, in up to 0.3 s for 100,000 items, and the texts are read once a view:
        keep it for as long as the view lives.
        """
        return frozen(_Reading(view).mask(self.expression))


def parse_filter(text: str) -> Filter:
    """Read a filter on items; every item meets a blank filter.

    Raises:
        InvalidInput: The text does not parse, names an unknown field, compares a field with a value of
            another type, or is beyond a limit of the grammar.
    """
    expression = parse(text)
    check_fields(expression, ITEM_FIELDS)
    cost = 0
    for condition in conditions(expression):
        cost += _cost(condition)
        if cost > MAX_SEARCHES:
            refuse(
                f"a filter looks into texts at most {MAX_SEARCHES} times, once for each part between"
                " wildcards and twice in descriptions or without a field; use = without * where it will do",
                condition.value.position,
            )
    return Filter(text, expression)


def _cost(condition: Literal | Comparison) -> int:
    """Return the cost of a condition: nothing for numbers, and for a mere comparison for equality."""
    parts = 1 if condition.value.is_anything else len(condition.value.pieces)
    if isinstance(condition, Literal) or condition.field == "description":
        return 2 * parts
    if ITEM_FIELDS[split_field(condition.field)[0]] not in _TEXT_TYPES or _is_plain(condition):
        return 0
    return parts


def _is_plain(comparison: Comparison) -> bool:
    """Return whether a condition on texts merely asks which are equal."""
    if comparison.value.has_wildcard or comparison.operator in ORDERS:
        return False
    return comparison.operator != Operator.HAS or ITEM_FIELDS.get(comparison.field) != FieldType.TEXT


# The columns of texts, by field: read once for all views that differ in counts alone, and again where the
# texts of a field are others.
_text_columns: WeakKeyDictionary[Vocabulary, dict[str, TextColumn]] = WeakKeyDictionary()


class _Reading:
    """One view, read for filters."""

    def __init__(self, view: CatalogView) -> None:
        self._view = view
        self._texts = _text_columns.setdefault(view.vocabulary, {})

    def mask(self, expression: Expression) -> Mask:
        match expression:
            case And(operands):
                mask = np.ones(len(self._view), np.bool_)
                for operand in operands:
                    mask &= self.mask(operand)
            case Or(operands):
                mask = np.zeros(len(self._view), np.bool_)
                for operand in operands:
                    mask |= self.mask(operand)
            case Not(operand):
                mask = ~self.mask(operand)
            case Literal(value):
                mask = np.zeros(len(self._view), np.bool_)
                for name in _SEARCHED:
                    mask |= self._containing(name, value)
            case Comparison():
                mask = self._compared(expression)
        return mask

    def _compared(self, comparison: Comparison) -> Mask:
        name, value = comparison.field, comparison.value
        root, attribute = split_field(name)
        if root in _COLUMNS:
            field_type, column_of = _COLUMNS[root]
            if field_type == FieldType.TEXT and comparison.operator == Operator.HAS:
                return self._containing(root, value)
            if root in _IDS and comparison.operator == Operator.EQUAL and not value.has_wildcard:
                mask = np.zeros(len(self._view), np.bool_)
                mask[self._view.vocabulary.known([value.text])] = True
                return mask
            return self._column_mask(column_of(self._view), comparison)
        values = self._view.attributes.get(attribute or value.text)
        if values is None:
            return np.zeros(len(self._view), np.bool_)
        return self._column_mask(values, comparison) if attribute else self._present(name, values)

    def _containing(self, name: str, value: Value) -> Mask:
        column = _COLUMNS[name][1](self._view)
        if isinstance(column, np.ndarray) or value.is_anything:
            return self._present(name, column)
        return column.chosen(self._texts_of(name, column).containing(value))

    def _column_mask(self, column: _Column, comparison: Comparison) -> Mask:
        """Return the rows where a column meets a comparison; ``:`` compares for equality."""
        name, value, comparator = comparison.field, comparison.value, comparison.operator
        if comparator == Operator.NOT_EQUAL:
            equal = replace(comparison, operator=Operator.EQUAL)
            return self._present(name, column) & ~self._column_mask(column, equal)
        if value.is_anything:
            return self._present(name, column)
        if isinstance(column, np.ndarray):
            return _scalar_mask(column, comparison)
        texts = self._texts_of(name, column)
        if comparator not in ORDERS:
            return column.chosen(texts.equal(value))
        if value.is_bare_number:  # of an attribute: no text lies above or below a number
            return np.zeros(len(self._view), np.bool_)
        return column.chosen(texts.ordered(comparator, value.text))

    def _present(self, name: str, column: _Column) -> Mask:
        if isinstance(column, np.ndarray):
            return ~np.isnan(column)
        return column.chosen(self._texts_of(name, column).present)

    def _texts_of(self, name: str, column: _Texts | Labels) -> TextColumn:
        texts = self._texts.get(name)
        if texts is None or texts.names is not column.names:
            texts = self._texts[name] = TextColumn(column.names)
        return texts


def _scalar_mask(column: NDArray[Any], comparison: Comparison) -> Mask:
    value = comparison.value
    wanted = value.boolean if column.dtype == np.bool_ else value.number
    if wanted is None:
        wanted = value.time
    if wanted is None:  # of an attribute: a text is no number
        return np.zeros(len(column), np.bool_)
    mask: Mask = _COMPARE[comparison.operator](column, wanted)
    return mask

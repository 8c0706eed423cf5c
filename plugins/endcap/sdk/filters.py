"""Filters over a catalog view: a condition on items, parsed once, as a mask over the view's rows.

::

    parse_filter('category = "toys" AND price < 20 AND NOT brand:"Acme"').mask(view)

The grammar is ``filter_grammar``'s, the meaning of values and operators ``filter_fields``'; the fields are
those of ``ITEM_FIELDS``. A value without a field is looked for in title, brand, categories and tags,
whatever the case.

A comparison with what an item does not have is false: ``price < 20`` and ``price != 20`` both leave out an
item without a price, ``NOT price < 20`` lets it in. ``NOT brand:*`` finds the items without a brand. An
attribute that no item has matches nothing. Where one item has a number under an attribute's name, the
attribute is a number for all; times among attributes are Unix milliseconds and compare with RFC 3339 texts.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

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
from endcap.sdk.vocabulary import frozen


Mask: TypeAlias = NDArray[np.bool_]

MAX_SEARCHES = 64
"""Conditions of a filter that look into the texts of every item, which is what masks cost."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """One text a row, read as labels are: every row has a name of its own."""

    names: Sequence[str]

    def chosen(self, which: Iterable[bool]) -> Mask:
        return np.fromiter(which, np.bool_, len(self.names))


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
    "currency": (FieldType.CODE, lambda view: _Texts((view.currency,) * len(view))),
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
        """Return which rows of a view meet the condition, ``(rows,)``, read-only.

        It is worked out anew each time, in the order of 10 ms for each text searched in 100,000 items:
        keep it for as long as the view lives.
        """
        return frozen(_Reading(view, self.expression).mask(self.expression))


def parse_filter(text: str) -> Filter:
    """Read a filter on items; a blank one is met by every item.

    Raises:
        InvalidInput: It does not parse, names an unknown field, compares a field with what it cannot be
            compared with, or is beyond a limit of the grammar.
    """
    expression = parse(text)
    check_fields(expression, ITEM_FIELDS)
    searches = [condition for condition in conditions(expression) if _is_search(condition)]
    if len(searches) > MAX_SEARCHES:
        refuse(
            f"a filter looks into texts at most {MAX_SEARCHES} times; use = without * where it will do",
            searches[MAX_SEARCHES].value.position,
        )
    return Filter(text, expression)


def _is_search(condition: Literal | Comparison) -> bool:
    """Return whether a condition looks into texts one by one, and does not merely ask which are equal."""
    if isinstance(condition, Literal):
        return True
    return ITEM_FIELDS[split_field(condition.field)[0]] == FieldType.TEXT and not _is_plain(condition)


def _is_plain(comparison: Comparison) -> bool:
    return comparison.operator == Operator.EQUAL and not comparison.value.has_wildcard


class _Reading:
    """One view read for one filter, so that it goes through a column once for many conditions."""

    def __init__(self, view: CatalogView, expression: Expression) -> None:
        self._view = view
        self._expression = expression
        self._folded: dict[str, list[str]] = {}
        self._rows: dict[str, dict[str, list[int]]] = {}

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
        root, attribute = split_field(comparison.field)
        if root in _COLUMNS:
            field_type, column_of = _COLUMNS[root]
            column = column_of(self._view)
            if field_type == FieldType.TEXT and comparison.operator == Operator.HAS:
                return self._containing(root, comparison.value)
            if isinstance(column, _Texts) and _is_plain(comparison):
                return self._equal(root, column.names, comparison.value)
            return _column_mask(column, comparison)
        values = self._view.attributes.get(attribute or comparison.value.text)
        if values is None:
            return np.zeros(len(self._view), np.bool_)
        return _column_mask(values, comparison) if attribute else _present(values)

    def _equal(self, name: str, texts: Sequence[str], value: Value) -> Mask:
        """Find equal texts, all that the filter asks for in one pass: hand-picked lists of ids are long."""
        if name not in self._rows:
            rows: dict[str, list[int]] = {
                condition.value.text: []
                for condition in conditions(self._expression)
                if isinstance(condition, Comparison) and condition.field == name and _is_plain(condition)
            }
            for row, text in enumerate(texts):
                if text in rows:
                    rows[text].append(row)
            self._rows[name] = rows
        mask = np.zeros(len(self._view), np.bool_)
        mask[self._rows[name][value.text]] = True
        return mask

    def _containing(self, name: str, value: Value) -> Mask:
        column = _COLUMNS[name][1](self._view)
        if isinstance(column, np.ndarray) or value.is_anything:
            return _present(column)
        if name not in self._folded:
            self._folded[name] = [text.casefold() for text in column.names]
        return column.chosen(value.occurs_in(self._folded[name]))


def _column_mask(column: _Column, comparison: Comparison) -> Mask:
    """Return where a column meets a comparison, ``:`` asking for an equal value."""
    value, comparator = comparison.value, comparison.operator
    if comparator == Operator.NOT_EQUAL:
        return _present(column) & ~_column_mask(column, replace(comparison, operator=Operator.EQUAL))
    if value.is_anything:
        return _present(column)
    if isinstance(column, np.ndarray):
        return _scalar_mask(column, comparison)
    if comparator not in ORDERS:
        return column.chosen(value.equals(column.names))
    compare, bound = _COMPARE[comparator], value.text
    no_order = value.is_bare_number  # of an attribute: no text lies above or below a number
    return column.chosen(text != "" and not no_order and compare(text, bound) for text in column.names)


def _scalar_mask(column: NDArray[Any], comparison: Comparison) -> Mask:
    value = comparison.value
    wanted = value.boolean if column.dtype == np.bool_ else value.number
    if wanted is None:
        wanted = value.time
    if wanted is None:  # of an attribute: a text is no number
        return np.zeros(len(column), np.bool_)
    mask: Mask = _COMPARE[comparison.operator](column, wanted)
    return mask


def _present(column: _Column) -> Mask:
    return ~np.isnan(column) if isinstance(column, np.ndarray) else column.chosen(map(bool, column.names))

"""Filters of lists, read plainly: whether one item or user meets a condition.

The grammar and the meaning of values are ``endcap.sdk``'s, those of the filters over a catalog view. An
attribute means here what the entry itself holds under the name: of items, only what is of the attribute's
type comes here, so lists and answers agree.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

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
)
from endcap.sdk.filter_fields import FieldType, check_fields, split_field
from endcap.sdk.filter_grammar import parse


FieldValue: TypeAlias = str | Sequence[str] | float | bool | Mapping[str, Any] | None
"""What a field of an entry holds: by its type a text, texts, a number or Unix milliseconds, a yes or no, or
attributes by name; None for no number or time."""


@dataclass(frozen=True, slots=True)
class ListFields:
    """The fields that the filters of a list may name."""

    types: Mapping[str, FieldType]

    searched: Sequence[str]
    """Those that a value without a field is looked for in; each a text or texts."""


def parse_list_filter(text: str, fields: ListFields) -> Expression:
    """Read the filter of a list; a blank one is met by every entry.

    Raises:
        InvalidInput: It does not parse, or the fields cannot answer it.
    """
    expression = parse(text)
    check_fields(expression, fields.types)
    return expression


def matches(expression: Expression, fields: ListFields, entry: Mapping[str, FieldValue]) -> bool:
    """Return whether an entry meets a filter.

    Args:
        expression: What ``parse_list_filter`` made of it.
        fields: The fields it was read with.
        entry: The value of every field, by name.
    """
    match expression:
        case And(operands):
            return all(matches(operand, fields, entry) for operand in operands)
        case Or(operands):
            return any(matches(operand, fields, entry) for operand in operands)
        case Not(operand):
            return not matches(operand, fields, entry)
        case Literal(value):
            return any(_contain(_texts(entry[name]), value) for name in fields.searched)
        case Comparison():
            return _compared(expression, fields, entry)


_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.HAS: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def _compared(comparison: Comparison, fields: ListFields, entry: Mapping[str, FieldValue]) -> bool:
    root, attribute = split_field(comparison.field)
    held: Any = entry[root]
    match fields.types[root]:
        case FieldType.TEXT if comparison.operator == Operator.HAS:
            return _contain(_texts(held), comparison.value)
        case FieldType.TEXT | FieldType.TEXTS | FieldType.CODE:
            return _texts_meet(_texts(held), comparison)
        case FieldType.ATTRIBUTES:
            value = held.get(attribute or comparison.value.text)
            if not attribute:
                return _is_number(value) or any(_texts(value))
            return (
                _scalar_meets(value, comparison)
                if _is_number(value)
                else _texts_meet(_texts(value), comparison)
            )
        case _:
            return _scalar_meets(held, comparison)


def _texts_meet(texts: Sequence[str], comparison: Comparison) -> bool:
    value, comparator = comparison.value, comparison.operator
    if comparator == Operator.NOT_EQUAL:
        return any(texts) and not (any(texts) if value.is_anything else any(value.equals(texts)))
    if value.is_anything:
        return any(texts)
    if comparator not in ORDERS:
        return any(value.equals(texts))
    # Of an attribute: no text lies above or below a number.
    compare = _COMPARE[comparator]
    return not value.is_bare_number and any(text != "" and compare(text, value.text) for text in texts)


def _scalar_meets(held: Any, comparison: Comparison) -> bool:
    value, comparator = comparison.value, comparison.operator
    if held is None:
        return False
    if value.is_anything:
        return comparator != Operator.NOT_EQUAL
    wanted = value.boolean if isinstance(held, bool) else value.number
    if wanted is None:
        wanted = value.time
    if comparator == Operator.NOT_EQUAL:
        return bool(held != wanted)
    return wanted is not None and _COMPARE[comparator](held, wanted)


def _contain(texts: Sequence[str], value: Value) -> bool:
    if value.is_anything:
        return any(texts)
    return any(value.occurs_in(text.casefold() for text in texts))


def _texts(value: Any) -> Sequence[str]:
    """Return a field that is no number as texts: nothing, one, ``true`` or ``false``, or several."""
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (value,) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

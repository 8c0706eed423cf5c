"""The fields of a filter: their names, the meaning of their values, and the operators they take.

==========  ==========================  ================================================================
type        operators                   values
==========  ==========================  ================================================================
text        all                         any; ``:`` finds the value anywhere in the text, whatever the
                                        case; the order is that of the characters' code points
texts       ``=`` ``!=`` ``:``          any; ``=`` and ``:`` ask for an element that is equal, ``!=`` for
                                        elements none of which is
code        ``=`` ``!=``                any
number      all; ``:`` means ``=``      such as ``20``, ``-0.5`` or ``2e3``
time        all; ``:`` means ``=``      RFC 3339, such as ``2026-01-31T00:00:00Z``
boolean     ``=`` ``!=`` ``:``          ``true`` or ``false``
attributes  all; ``:`` means ``=``      of ``attributes.name``, as the items' values have it;
                                        ``attributes:name`` asks whether there is one
==========  ==========================  ================================================================

``field:*`` asks whether there is any value, with every type but code. Wildcards stand in texts that are
compared by ``=``, ``!=`` or ``:``. Quotes only hold a value together: ``price < "20"`` is ``price < 20``;
but a number without quotes has no place in an order of texts, so ``title < 3`` is refused.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

from endcap.sdk.filter_expression import ORDERS, Comparison, Expression, Operator, Value, conditions
from endcap.sdk.filter_grammar import refuse, shown


class FieldType(StrEnum):
    """The type of a field; its value names it in messages."""

    TEXT = "a text"
    TEXTS = "a list of texts"
    CODE = "a code"
    NUMBER = "a number such as 19.99"
    TIME = "a time such as 2026-01-31T00:00:00Z"
    BOOLEAN = "true or false"
    ATTRIBUTES = "a map of attributes"


_ALL = frozenset(Operator)
_EQUALITIES = frozenset({Operator.EQUAL, Operator.NOT_EQUAL})
_OPERATORS: Mapping[FieldType, frozenset[Operator]] = {
    FieldType.TEXT: _ALL,
    FieldType.TEXTS: _ALL - ORDERS,
    FieldType.CODE: _EQUALITIES,
    FieldType.NUMBER: _ALL,
    FieldType.TIME: _ALL,
    FieldType.BOOLEAN: _ALL - ORDERS,
    FieldType.ATTRIBUTES: _ALL,
}
_READINGS: Mapping[FieldType, Callable[[Value], object]] = {
    FieldType.NUMBER: lambda value: value.number,
    FieldType.TIME: lambda value: value.time,
    FieldType.BOOLEAN: lambda value: value.boolean,
}


def split_field(name: str) -> tuple[str, str]:
    """Split a field's name at its first dot, as ``attributes.colour``; the second part may be empty."""
    root, _, rest = name.partition(".")
    return root, rest


def check_fields(expression: Expression, fields: Mapping[str, FieldType]) -> None:
    """Refuse a filter whose comparisons the fields cannot answer.

    Args:
        expression: What the grammar read.
        fields: The fields that may be used, by name.

    Raises:
        InvalidInput: A field is unknown, does not take the operator, or cannot have the value.
    """
    for condition in conditions(expression):
        if isinstance(condition, Comparison):
            _check(condition, fields)


def _check(comparison: Comparison, fields: Mapping[str, FieldType]) -> None:
    field, comparator, value = comparison.field, comparison.operator, comparison.value
    root, attribute = split_field(field)
    field_type = fields.get(root)
    if field_type is None or (field != root and (field_type != FieldType.ATTRIBUTES or not attribute)):
        names = [
            f"{name}.<name>" if fields[name] == FieldType.ATTRIBUTES else name for name in sorted(fields)
        ]
        refuse(f"field {shown(field)} does not exist; use one of {', '.join(names)}", comparison.position)
    if field == root and field_type == FieldType.ATTRIBUTES:
        if comparator != Operator.HAS or value.has_wildcard:
            refuse(f"{field} is {field_type}; compare one, such as {field}.colour", comparison.position)
        return
    if comparator not in _OPERATORS[field_type]:
        usable = " ".join(sorted(_OPERATORS[field_type]))
        refuse(f"{field} is {field_type}, which takes no {comparator}; use {usable}", comparison.position)
    if comparator == Operator.HAS and value.is_anything:
        return
    if field_type in _READINGS and _READINGS[field_type](value) is None:
        refuse(f"{field} is {field_type} and {shown(value.text)} is not", value.position)
    if comparator in ORDERS and value.has_wildcard:
        refuse("* goes with = != and : only; put a backslash before it to mean itself", value.position)
    if comparator in ORDERS and field_type == FieldType.TEXT and value.is_bare_number:
        refuse(f"{field} is {field_type} and {shown(value.text)} a number; put it in quotes", value.position)

"""Filters of lists as conditions of SQL, for SQLite and PostgreSQL alike.

Not every condition has one that means the same: case is folded by Python, as are wildcards, and attributes
have a type of their own in each entry. So a filter is turned into a condition that it *implies*: the database
leaves out what it can, and ``filtering.matches`` decides on the rest. Values only ever travel as parameters.
"""

import bisect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select, true, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from endcap.catalog.money import MAX_UNITS, NANOS, to_units
from endcap.sdk.filter_expression import And, Comparison, Expression, Not, Operator, Or


_AMOUNTS = range((MAX_UNITS + 1) * NANOS)  # none is negative


@dataclass(frozen=True, slots=True)
class FilterColumns:
    """The columns that answer for fields, by the field's name; no column, no condition."""

    texts: Mapping[str, ColumnElement[str]]
    """Never null."""

    lists: Mapping[str, ColumnElement[list[str]]]
    """JSON lists of texts, never null."""

    times: Mapping[str, ColumnElement[int]]
    """Unix milliseconds."""

    amounts: Mapping[str, ColumnElement[int]]
    """Billionths of a unit."""

    comparable: ColumnElement[bool]
    """Where amounts can be compared: in the shop's currency."""


def implied_condition(expression: Expression, columns: FilterColumns, dialect: str) -> ColumnElement[bool]:
    """Return a condition that every entry meets which meets a filter.

    Args:
        expression: The filter.
        columns: Those of the table.
        dialect: The database's name, as SQLAlchemy has it.
    """
    match expression:
        case And(operands):
            return and_(true(), *(implied_condition(each, columns, dialect) for each in operands))
        case Or(operands):
            return or_(false(), *(implied_condition(each, columns, dialect) for each in operands))
        case _:
            condition = equivalent_condition(expression, columns, dialect)
            return true() if condition is None else condition


def equivalent_condition(
    expression: Expression, columns: FilterColumns, dialect: str
) -> ColumnElement[bool] | None:
    """Return a condition that exactly the entries meet which meet a filter, or None; it is never null."""
    match expression:
        case And(operands) | Or(operands):
            conditions = [equivalent_condition(each, columns, dialect) for each in operands]
            known = [condition for condition in conditions if condition is not None]
            if len(known) < len(conditions):
                return None
            return and_(true(), *known) if isinstance(expression, And) else or_(false(), *known)
        case Not(operand):
            condition = equivalent_condition(operand, columns, dialect)
            return None if condition is None else not_(condition)
        case Comparison():
            return _compared(expression, columns, dialect)
        case _:
            return None


def _compared(comparison: Comparison, columns: FilterColumns, dialect: str) -> ColumnElement[bool] | None:
    name, value = comparison.field, comparison.value
    if value.has_wildcard:
        return None
    if name in columns.texts:
        # SQLite compares the bytes of UTF-8, which are in the order of code points; PostgreSQL can.
        column = columns.texts[name]
        return _text(column if dialect == "sqlite" else column.collate("C"), comparison)
    if name in columns.lists and comparison.operator != Operator.NOT_EQUAL:
        return _holds(columns.lists[name], value.text, dialect)
    if name in columns.times and value.time is not None:
        return _between(
            columns.times[name], math.ceil(value.time), math.floor(value.time) + 1, comparison.operator
        )
    if name in columns.amounts and value.number is not None:
        # Whole billionths below and above a number of units, so that the database rounds nothing.
        lower = bisect.bisect_left(_AMOUNTS, value.number, key=to_units)
        upper = bisect.bisect_right(_AMOUNTS, value.number, key=to_units)
        amount = _between(columns.amounts[name], lower, upper, comparison.operator)
        return and_(columns.comparable, amount)
    return None


_COMPARE_TEXT: Mapping[Operator, Callable[[ColumnElement[str], str], ColumnElement[bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}
"""What compares texts as they are; ``:`` does so whatever the case."""


def _text(column: ColumnElement[str], comparison: Comparison) -> ColumnElement[bool] | None:
    compare = _COMPARE_TEXT.get(comparison.operator)
    return None if compare is None else and_(column != "", compare(column, comparison.value.text))


def _between(column: ColumnElement[int], start: int, end: int, comparator: Operator) -> ColumnElement[bool]:
    """Compare a number with the numbers from ``start`` up to ``end``, which all count as one."""
    match comparator:
        case Operator.EQUAL | Operator.HAS:
            condition = and_(column >= start, column < end)
        case Operator.NOT_EQUAL:
            condition = or_(column < start, column >= end)
        case Operator.LESS:
            condition = column < start
        case Operator.AT_MOST:
            condition = column < end
        case Operator.GREATER:
            condition = column >= end
        case Operator.AT_LEAST:
            condition = column >= start
    return and_(column.is_not(None), condition)


def _holds(column: ColumnElement[list[str]], text: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        condition: ColumnElement[bool] = type_coerce(column, JSONB).has_key(text)
        return condition
    element = func.json_each(column).table_valued("value")
    return exists(select(element.c.value).where(element.c.value == text))

"""Filters of users as conditions of SQL: by id, tags and language, for SQLite and PostgreSQL alike.

::

    tags:vip AND NOT language_code = "de"

The grammar is ``endcap.sdk.filter_grammar``'s. A record without a language is neither of a language nor of
another one. Values only ever travel as parameters.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select, true, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from endcap.catalog.database.tables import USER_RECORDS
from endcap.sdk.filter_expression import And, Comparison, Expression, Literal, Not, Operator, Or
from endcap.sdk.filter_fields import FieldType, check_fields
from endcap.sdk.filter_grammar import parse, refuse


_COLUMNS = MappingProxyType(
    {
        "id": USER_RECORDS.c.id,
        "user_id": USER_RECORDS.c.id,
        "language_code": USER_RECORDS.c.language_code,
        "tags": USER_RECORDS.c.tags,
    }
)
_FIELDS: Mapping[str, FieldType] = MappingProxyType(
    {name: FieldType.TEXTS if name == "tags" else FieldType.CODE for name in _COLUMNS}
)


def user_condition(text: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that the records meet which meet a filter; a blank one is met by all.

    Args:
        text: The filter.
        dialect: The database's name, as SQLAlchemy has it.

    Raises:
        InvalidInput: The filter does not parse, or asks for anything but ids, tags and languages.
    """
    expression = parse(text)
    check_fields(expression, _FIELDS)
    return _condition(expression, dialect)


def _condition(expression: Expression, dialect: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool]
    match expression:
        case And(operands):
            condition = and_(true(), *(_condition(each, dialect) for each in operands))
        case Or(operands):
            condition = or_(false(), *(_condition(each, dialect) for each in operands))
        case Not(operand):
            condition = not_(_condition(operand, dialect))
        case Literal(value):
            refuse("users are looked for by a field: write id=, tags: or language_code=", value.position)
        case Comparison():
            condition = _compared(expression, dialect)
    return condition


def _compared(comparison: Comparison, dialect: str) -> ColumnElement[bool]:
    column, value, is_not = _COLUMNS[comparison.field], comparison.value, Operator.NOT_EQUAL
    if value.has_wildcard:
        refuse("* has no place in a filter of users: write the whole value", value.position)
    if comparison.field != "tags":
        compared = column != value.text if comparison.operator == is_not else column == value.text
        return and_(column != "", compared)
    if comparison.operator == is_not:
        refuse("tags take = and : only: write NOT tags:vip instead", comparison.position)
    if dialect == "postgresql":
        held: ColumnElement[bool] = type_coerce(column, JSONB).has_key(value.text)
        return held
    element = func.json_each(column).table_valued("value")
    return exists(select(element.c.value).where(element.c.value == value.text))

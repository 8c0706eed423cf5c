"""Filters of users as SQL conditions: by id, tags and language, for SQLite and PostgreSQL.

::

    tags:vip AND NOT language_code = "de"

``endcap.sdk.filter_grammar`` defines the grammar. A record without a language meets neither ``=`` nor ``!=``.
Values are always passed as SQL parameters.
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
    """Return a filter as a condition on user records; every record meets a blank filter.

    Args:
        text: The filter.
        dialect: SQLAlchemy's name of the database: ``sqlite`` or ``postgresql``.

    Raises:
        InvalidInput: The filter does not parse, or uses other fields than ids, tags and languages.
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
            refuse("a filter of users needs fields: write id=, tags: or language_code=", value.position)
        case Comparison():
            condition = _compared(expression, dialect)
    return condition


def _compared(comparison: Comparison, dialect: str) -> ColumnElement[bool]:
    column, value, is_not = _COLUMNS[comparison.field], comparison.value, Operator.NOT_EQUAL
    if value.has_wildcard:
        refuse("a filter of users takes no *: write the whole value", value.position)
    if comparison.field != "tags":
        compared = column != value.text if comparison.operator == is_not else column == value.text
        return and_(column != "", compared)
    if comparison.operator == is_not:
        refuse("tags take only = and ':': write NOT tags:vip instead", comparison.position)
    if dialect == "postgresql":
        held: ColumnElement[bool] = type_coerce(column, JSONB).has_key(value.text)
        return held
    element = func.json_each(column).table_valued("value")
    return exists(select(element.c.value).where(element.c.value == value.text))

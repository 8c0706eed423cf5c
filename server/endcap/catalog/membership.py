"""Asking for the rows of many values; each database has its own way that stays fast."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection


def is_among(connection: AsyncConnection, column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of some values.

    For PostgreSQL one array is one short statement, and a list of parameters another one of every length.

    Args:
        connection: The one that the condition is for.
        column: A column of a table.
        values: Up to 30,000, which is what SQLite takes.
    """
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))
    return column.in_(values)

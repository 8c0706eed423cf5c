"""Querying the rows of many values; each database has its own fast way."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection


_Value = TypeVar("_Value")

CHUNK = 5_000
"""Values in a statement, far below the databases' limits of parameters."""


def in_chunks(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Yield values in their order, ``CHUNK`` at a time, for one statement each."""
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def is_among(connection: AsyncConnection, column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that the value of a column is among some values.

    PostgreSQL takes one array in one statement; a list of parameters would need a statement for every length.

    Args:
        connection: The connection that runs the query.
        column: A column of a table.
        values: At most 30,000 values, which is the limit of SQLite.
    """
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))
    return column.in_(values)

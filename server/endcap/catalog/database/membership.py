"""Asking for the rows of many values; each database has its own way that stays fast."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection


_Value = TypeVar("_Value")

CHUNK = 5_000
"""Values a statement, where they may be many: far below what a database allows of parameters."""


def in_chunks(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Yield values in their order, ``CHUNK`` at a time, for one statement each."""
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


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

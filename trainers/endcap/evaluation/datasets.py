"""Data sets, read into columns but not yet split.

Nothing of a file's own numbering survives: items get their rows, and users their numbers, from a
seeded permutation. Some public files number items by first appearance, user after user, which gives
away what a user chose next to anybody who looks at the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from endcap.evaluation.ragged import Ragged
from endcap.sdk.catalog_view import EventColumns, ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.vocabulary import Rows


if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """The items of each user, in order, without times."""

    name: str
    items: ItemColumns
    sequences: Ragged


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Anonymous sessions to fit on, and prefixes of other sessions with the item that followed."""

    name: str
    items: ItemColumns
    sessions: Ragged
    prefixes: Ragged
    targets: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Dated events of known users."""

    name: str
    items: ItemColumns
    events: EventColumns
    """In time order."""


DataSet: TypeAlias = Sequences | Sessions | Log


def anonymous_items(titles: Sequence[str]) -> ItemColumns:
    """Return items that are known by nothing but a title, which may be empty; a row is its own id."""
    count = len(titles)
    return ItemColumns(
        ids=[str(row) for row in range(count)],
        titles=titles,
        categories=[()] * count,
        prices=np.full(count, np.nan),
        available=np.ones(count, np.bool_),
        created=np.zeros(count, np.int64),
    )


def require_columns(path: Path, table: "pl.DataFrame", columns: tuple[str, ...]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InvalidInput: A column is missing; the message names it.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InvalidInput(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}"
        )

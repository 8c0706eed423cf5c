"""Data sets, read into columns but not yet split.

Nothing of a file's own numbering survives: items get their rows, and users their numbers, from a
seeded permutation. Some public files number items by first appearance, user after user, which gives
away what a user chose next to anybody who looks at the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.data import select
from endcap.evaluation.ragged import Ragged
from endcap.sdk.catalog_view import EventColumns, ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Task
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

    ages: NDArray[np.int64]
    """For each of ``sessions`` how many began after it."""

    prefixes: Ragged
    targets: Rows

    owners: NDArray[np.int64]
    """For each prefix a number, equal for the prefixes of one session."""


@dataclass(frozen=True, slots=True, eq=False)
class Descriptions:
    """What a log says of its items, oldest first; every column is as long as ``rows``."""

    rows: Rows

    times: NDArray[np.int64]
    """Unix milliseconds, ascending."""

    titles: Sequence[str]
    prices: NDArray[np.float64]

    def as_of(self, items: ItemColumns, moment: int) -> ItemColumns:
        """Return the items, each with its last description before a moment, or else its first one after it.

        Args:
            items: The items; one that the log does not describe stays as it is.
            moment: Unix milliseconds.
        """
        chosen = np.full(len(items.ids), -1)
        places = np.arange(len(self.rows))
        # Of the places that are assigned to one row, the last one stays.
        chosen[self.rows[::-1]] = places[::-1]
        past = self.times < moment
        chosen[self.rows[past]] = places[past]
        described = list(zip(chosen.tolist(), range(len(chosen)), strict=True))
        return replace(
            items,
            titles=[self.titles[place] if place >= 0 else items.titles[row] for place, row in described],
            prices=np.where(chosen >= 0, self.prices[chosen], items.prices),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Dated events of known users."""

    name: str

    items: ItemColumns
    """``created`` is 0 where nothing says when the shop took the item in."""

    events: EventColumns
    """In time order."""

    descriptions: Descriptions | None = None
    """Descriptions with their times; None where only the last ones are known, which ``items`` holds."""

    def before(self, moment: int) -> "Log":
        """Return the log less the events at or after a moment, in Unix milliseconds."""
        return replace(self, events=select(self.events, self.events.times < moment))

    def items_as_of(self, moment: int) -> ItemColumns:
        """Return the items as they were described before a moment, in Unix milliseconds."""
        return self.items if self.descriptions is None else self.descriptions.as_of(self.items, moment)

    def appearances(self) -> NDArray[np.int64]:
        """Return when each item appeared, in Unix milliseconds.

        That is when it was created or had its first event, whichever came first. An item with neither never
        appeared, as far as the log knows.
        """
        never = np.iinfo(np.int64).max
        times = np.where(self.items.created > 0, self.items.created, never)
        np.minimum.at(times, self.events.rows, self.events.times)
        return times


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Events to train on, and links from item to item to test with."""

    name: str
    items: ItemColumns

    events: EventColumns
    """In time order."""

    targets: Mapping[Task, Ragged]
    """For similar, related or both, the items that each item links to, one list a row."""


DataSet: TypeAlias = Sequences | Sessions | Log | Links


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

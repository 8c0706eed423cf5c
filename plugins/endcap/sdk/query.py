"""One query in the platform's own terms, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import NO_VALUES, Rows, Scores, frozen, values_or_none


class Task(StrEnum):
    """The kind of answer that a placement wants."""

    FOR_YOU = "for-you"
    """Items for one user, from the user's history."""

    SIMILAR = "similar"
    """Alternatives to the item of a product page."""

    RELATED = "related"
    """Complements of an item or of a cart."""

    RANK = "rank"
    """A given list of candidates, put in order."""

    SEARCH = "search"
    """Items that match a query text."""

    TRENDING = "trending"
    """Items that are bought more now than before."""

    RECENTLY_VIEWED = "recently-viewed"
    """The items that the user looked at, newest first."""


NO_ROWS: Rows = frozen(np.empty(0, np.int32))
"""The empty list of rows."""

NO_SCORES: Scores = frozen(np.empty(0, np.float32))
"""The empty list of scores."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The events of a user, oldest first. All arrays have the same length."""

    rows: Rows = field(default_factory=lambda: NO_ROWS)
    """Item rows."""

    types: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    """Event types: ``view``, ``add_to_cart``, ``purchase``, …"""

    times: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Unix milliseconds, ascending."""

    values: NDArray[np.float32] = field(default_factory=lambda: NO_VALUES)
    """The rating of an event of type ``rating``, the quantity of another; NaN where there is none."""

    def __post_init__(self) -> None:
        """Let events whose values are not given have none, and freeze the arrays."""
        object.__setattr__(self, "values", values_or_none(self.values, len(self.rows)))
        _freeze(self, "rows", "types", "times", "values")

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, chosen: NDArray[np.bool_]) -> "History":
        """Return the chosen events."""
        return History(self.rows[chosen], self.types[chosen], self.times[chosen], self.values[chosen])

    def of_type(self, event_type: str) -> Rows:
        """Return the rows of the events of one type, oldest first."""
        rows: Rows = self.rows[self.types == event_type]
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class Eligibility:
    """Which rows may be shown: a mask that many queries share, less a few rows of this query."""

    mask: NDArray[np.bool_]
    """True where a row may be shown, ``(rows,)``. Shared with other queries, and cached."""

    excluded: Rows = field(default_factory=lambda: NO_ROWS)
    """Rows that this query must not show: seen, excluded by the caller, already on the page."""

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        _freeze(self, "mask", "excluded")

    def allows(self, rows: Rows) -> NDArray[np.bool_]:
        """Return for each of ``rows`` whether it may be shown."""
        return self.mask[rows] & ~np.isin(rows, self.excluded)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One query. Everything in it is frozen, and rows are those of the view that comes with it."""

    task: Task

    limit: int
    """Length of the list: how many items the caller asks for."""

    time: int
    """Unix milliseconds: the only now there is."""

    eligible: Eligibility
    """Which rows may be shown."""

    history: History = field(default_factory=History)
    """The events of the user; empty for a new user."""

    items: Rows = field(default_factory=lambda: NO_ROWS)
    """The item of a product page, or the cart."""

    candidates: Rows | None = None
    """The only rows that may be shown, in the caller's order: the list to rank, what the user viewed,
    what matches the text, best match first; None when the task names none."""

    relevance: Scores = field(default_factory=lambda: NO_SCORES)
    """How well the text of each of ``candidates`` matches, above 0, higher is better; empty unless the task
    is search."""

    text: str = ""
    """The text that the user typed."""

    context: Mapping[str, str] = field(default_factory=dict)
    """Free facts about the call, as sent: ``{"category": "garden"}``."""

    explain: bool = False
    """Whether the caller asks for reasons; if not, a strategy may leave them out."""

    seed: int = 0
    """The only source of randomness, unsigned 64 bits."""

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        _freeze(self, "items", "relevance", *(() if self.candidates is None else ("candidates",)))


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """Why an item was chosen."""

    kind: str
    """A stable name: ``bought_together``, ``popular``, …; the shop turns it into words."""

    evidence: Rows = field(default_factory=lambda: NO_ROWS)
    """The rows that speak for the item, strongest first."""

    text: str = ""
    """The reason as a short sentence, at most 200 characters, for a kind that the server has no words for:
    those of Endcap's own strategies keep theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The answer to one query: rows from best to worst."""

    rows: Rows

    scores: Scores
    """One a row, never NaN, never increasing."""

    reasons: tuple[tuple[Reason, ...], ...] = ()
    """The reasons of each row; empty if the query did not ask for them."""

    def __len__(self) -> int:
        return len(self.rows)


NO_RANKING = Ranking(NO_ROWS, NO_SCORES)
"""The ranking that holds nothing."""


def _freeze(owner: object, *fields: str) -> None:
    """Keep plugins from writing to arrays that other queries are answered by."""
    for field_name in fields:
        object.__setattr__(owner, field_name, frozen(getattr(owner, field_name)))

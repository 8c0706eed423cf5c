"""Item ids and their rows: ids are strings at the edge, int rows inside."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray


Rows: TypeAlias = NDArray[np.int32]
"""Rows of a vocabulary, ``int32``."""

Scores: TypeAlias = NDArray[np.float32]
"""Scores, ``float32``; NaN where there is none."""
Array = TypeVar("Array", bound=NDArray[Any])

UNKNOWN = -1
"""The row of an id that a vocabulary does not hold. Never pass it to a model: a Gather wraps it silently."""


def frozen(array: Array) -> Array:
    """Return a view of an array that cannot be written to; the array itself where it cannot be, either."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


NO_VALUES: NDArray[np.float32] = frozen(np.empty(0, np.float32))
"""The values of events without any."""


def values_or_none(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the values of so many events: NaN for each where none are given."""
    return values if len(values) or not count else np.full(count, np.nan, np.float32)


class Vocabulary:
    """An immutable, ordered set of item ids; an id's position is its row."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = tuple(ids)
        """The ids, by row."""
        self._rows = {item_id: row for row, item_id in enumerate(self.ids)}
        if len(self._rows) != len(self.ids):
            raise ValueError("a vocabulary holds each id once")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    def row(self, item_id: str) -> int:
        """Return the row of an id, or ``UNKNOWN``."""
        return self._rows.get(item_id, UNKNOWN)

    def rows(self, item_ids: Iterable[str]) -> Rows:
        """Return the row of each id, ``UNKNOWN`` where the id is not held."""
        return np.fromiter((self._rows.get(item_id, UNKNOWN) for item_id in item_ids), np.int32)

    def known(self, item_ids: Iterable[str]) -> Rows:
        """Return the rows of the ids that are held, in their order."""
        rows = self.rows(item_ids)
        known: Rows = rows[rows != UNKNOWN]
        return known

    def extended(self, ids: Iterable[str]) -> "Vocabulary":
        """Return a vocabulary that holds further ids after the last one.

        What ``align`` knows of this one carries over, so that its first use costs no more than the new ids.
        """
        added = tuple(ids)
        longer = Vocabulary(())
        longer.ids = self.ids + added
        longer._rows = self._rows | {item_id: row for row, item_id in enumerate(added, len(self))}
        if len(longer._rows) != len(longer.ids):
            raise ValueError("a vocabulary holds each id once")
        _carry_over(self, longer, added)
        return longer


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The map between the rows of two vocabularies."""

    source: Rows
    """Rows of the source that the target holds too, ascending."""

    target: Rows
    """Their rows in the target."""

    to_source: Rows
    """For every target row its source row, ``UNKNOWN`` where the source has none."""

    identical: bool
    """True when both vocabularies hold the same ids in the same order."""

    def spread(self, scores: Scores) -> Scores:
        """Move scores from source rows to target rows.

        Args:
            scores: Scores by source row, ``(queries, source rows)``.

        Returns:
            Scores by target row, ``(queries, target rows)``; NaN where the source has no such row.
        """
        if self.identical:
            return scores
        spread = np.full((len(scores), len(self.to_source)), np.nan, np.float32)
        spread[:, self.target] = scores[:, self.source]
        return spread


_Alignments: TypeAlias = WeakKeyDictionary[Vocabulary, Alignment]

_alignments: WeakKeyDictionary[Vocabulary, _Alignments] = WeakKeyDictionary()  # by target, then by source
_lock = Lock()  # strategies align in threads of their own


def align(source: Vocabulary, target: Vocabulary) -> Alignment:
    """Return how ``source`` lies in ``target``, computed once a pair and kept as long as both live."""
    with _lock:
        alignments = _alignments.setdefault(target, WeakKeyDictionary())
        alignment = alignments.get(source)
        if alignment is None:
            alignment = alignments[source] = _align(source, target)
    return alignment


def _align(source: Vocabulary, target: Vocabulary) -> Alignment:
    in_target = target.rows(source.ids)
    shared = np.flatnonzero(in_target != UNKNOWN).astype(np.int32)
    to_source = np.full(len(target), UNKNOWN, np.int32)
    to_source[in_target[shared]] = shared
    return Alignment(
        source=frozen(shared),
        target=frozen(in_target[shared]),
        to_source=frozen(to_source),
        identical=source.ids == target.ids,
    )


def _carry_over(target: Vocabulary, longer: Vocabulary, added: Sequence[str]) -> None:
    with _lock:
        carried: _Alignments = WeakKeyDictionary()
        for source, alignment in _alignments.get(target, WeakKeyDictionary()).items():
            carried[source] = _extended(alignment, source, longer, added)
        _alignments[longer] = carried


def _extended(before: Alignment, source: Vocabulary, longer: Vocabulary, added: Sequence[str]) -> Alignment:
    of_added = source.rows(added)
    to_source = np.concatenate([before.to_source, of_added])
    in_source, in_target = before.source, before.target
    if (of_added != UNKNOWN).any():
        in_target = np.flatnonzero(to_source != UNKNOWN).astype(np.int32)
        in_target = in_target[np.argsort(to_source[in_target])]
        in_source = to_source[in_target]
    return Alignment(
        source=frozen(in_source),
        target=frozen(in_target),
        to_source=frozen(to_source),
        identical=len(source) == len(longer) and source.ids == longer.ids,
    )

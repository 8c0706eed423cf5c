"""How many users did what to each item, brought up to date with each event instead of counted anew.

The sorted events of the histories are counted once: the base. Later events and links concern few people; what
these people count for in the base is taken off, and what they count for now is put on. That is exact, for a
user is counted by the user's own events alone. The base is counted again when ages move on, and when much
has come in since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import count_users
from endcap.sdk.features import AGE_BUCKETS, DAY
from endcap.sdk.vocabulary import Rows, frozen


AGE_STEP = 300_000
"""Milliseconds in which ages move on: they count back from the newest event, rounded up to a whole step."""

_UNSORTED = 10_000  # events, besides a quarter of the sorted ones, that are added to a base at most

_Counts: TypeAlias = Mapping[str, NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class EventColumnsByPerson:
    """Events of numbered people; the numbers of users are those of the people who are users."""

    people: NDArray[np.int32]
    rows: Rows
    types: NDArray[np.int32]
    times: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> "EventColumnsByPerson":
        """Return the chosen events."""
        return EventColumnsByPerson(
            self.people[chosen], self.rows[chosen], self.types[chosen], self.times[chosen]
        )

    def __add__(self, later: "EventColumnsByPerson") -> "EventColumnsByPerson":
        return EventColumnsByPerson(
            np.concatenate([self.people, later.people]),
            np.concatenate([self.rows, later.rows]),
            np.concatenate([self.types, later.types]),
            np.concatenate([self.times, later.times]),
        )


@dataclass(frozen=True, eq=False)
class EventLog:
    """All events of a shop as the histories had them at one moment, for another thread."""

    epoch: int
    """Names the sorted events: another one when they are sorted again, or somebody was forgotten."""

    revision: int
    row_count: int
    type_names: tuple[str, ...]

    users: NDArray[np.int32]
    """The user that each person counts as."""

    offsets: NDArray[np.int64]
    """Person ``p`` owns ``[offsets[p]:offsets[p + 1]]`` of what is sorted."""

    columns: tuple[Rows, NDArray[np.int32], NDArray[np.int64]]
    """What is sorted by person, then time: rows, types, times."""

    recent: EventColumnsByPerson
    """What came in since, in the order of arrival."""

    @cached_property
    def sorted(self) -> EventColumnsByPerson:
        """What is sorted."""
        people = np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))
        return EventColumnsByPerson(people, *self.columns)

    def newest(self) -> int:
        """Return the time of the newest event, 0 where there is none."""
        times = (self.columns[2], self.recent.times)
        return max(int(each.max(initial=0)) for each in times)


@dataclass(frozen=True, slots=True, eq=False)
class SortedEvents:
    """The events of a log sorted again: what the histories hold from now on in its place."""

    epoch: int
    recent_count: int
    offsets: NDArray[np.int64]
    columns: tuple[Rows, NDArray[np.int32], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class UserCounts:
    """Users by event type, age bucket and row, as ``CatalogView.users_by_age`` has them."""

    users_by_age: _Counts
    as_of: int
    revision: int
    epoch: int

    base: _Counts
    """Those of the sorted events alone."""

    base_users: NDArray[np.int32]
    """The user that each person counted as in the base."""

    def are_of(self, epoch: int, revision: int) -> bool:
        """Say whether they are those of the histories at an epoch and a revision."""
        return (self.epoch, self.revision) == (epoch, revision)


def is_due(counts: UserCounts | None, log: EventLog) -> bool:
    """Say whether the events are to be sorted, and all of them counted: ages moved on, or much came in."""
    return (
        counts is None
        or counts.epoch != log.epoch
        or counts.as_of != _as_of(log)
        or len(log.recent.rows) > _UNSORTED + len(log.columns[0]) // 4
    )


def sort_events(log: EventLog, *, keep_days: int = 0, now: int = 0) -> SortedEvents:
    """Merge the new events into the sorted ones.

    Args:
        log: The events.
        keep_days: Events that are so many days older than the newest one are left out, as ``prune_shop``
            deletes them; 0 for none.
        now: Unix milliseconds; events of a later time do not make others old.
    """
    events = log.sorted + log.recent
    if keep_days:
        newest = int(events.times[events.times <= now].max(initial=0))
        events = events.of(events.times >= newest - keep_days * DAY)
    order = np.lexsort((events.times, events.people))
    counts = np.bincount(events.people, minlength=len(log.users))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    columns = (events.rows[order], events.types[order], events.times[order])
    return SortedEvents(log.epoch, len(log.recent.rows), offsets, columns)


def count_log(counts: UserCounts | None, log: EventLog) -> UserCounts:
    """Return the counts of a log, from those of an earlier one where that is less work."""
    as_of = _as_of(log)
    if counts is None or counts.epoch != log.epoch or counts.as_of != as_of:
        base: _Counts = _count(log.sorted, log.users, log, as_of)
        base_users = log.users
    else:
        base, base_users = counts.base, counts.base_users
    touched = _touched(log, base_users)
    total = base
    if touched is not None:
        former, now = base_users[log.sorted.people], log.users[log.sorted.people]
        before = log.sorted.of(touched[former])
        after = log.sorted.of(touched[now]) + log.recent
        total = _sum(
            base, _count(before, base_users, log, as_of), _count(after, log.users, log, as_of), log.row_count
        )
    return UserCounts(MappingProxyType(dict(total)), as_of, log.revision, log.epoch, base, base_users)


def _touched(log: EventLog, base_users: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Return the users whose events differ from those of the base; None where none do."""
    moved = np.flatnonzero(log.users[: len(base_users)] != base_users)
    if not len(moved) and not len(log.recent.people):
        return None
    touched = np.zeros(len(log.users), np.bool_)
    touched[log.users[log.recent.people]] = True
    touched[log.users[moved]] = True
    touched[base_users[moved]] = True
    # One who was linked counted as nobody else before: the events of each are told by both numbers.
    known = log.recent.people[log.recent.people < len(base_users)]
    touched[base_users[known]] = True
    return touched


def _count(
    events: EventColumnsByPerson, users: NDArray[np.int32], log: EventLog, as_of: int
) -> dict[str, NDArray[np.int32]]:
    of_events = users[events.people]
    counts: dict[str, NDArray[np.int32]] = {}
    for code, name in enumerate(log.type_names):
        chosen = np.flatnonzero(events.types == code)
        if len(chosen):
            rows, times = events.rows[chosen], events.times[chosen]
            counts[name] = count_users(of_events[chosen], rows, times, log.row_count, as_of)
    return counts


def _sum(base: _Counts, before: _Counts, after: _Counts, row_count: int) -> _Counts:
    total = dict(base)
    for name in before.keys() | after.keys():
        summed = np.zeros((AGE_BUCKETS, row_count), np.int32)
        for counts, sign in ((base, 1), (before, -1), (after, 1)):
            if name in counts:
                count = counts[name]  # of fewer rows where some are new
                summed[:, : count.shape[1]] += sign * count
        total[name] = frozen(summed)
    return total


def _as_of(log: EventLog) -> int:
    return -(-log.newest() // AGE_STEP) * AGE_STEP

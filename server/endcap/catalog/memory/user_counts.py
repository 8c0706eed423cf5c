"""The number of users by item and event type, updated with each event instead of counted anew.

The sorted events of the histories are counted once: the base. Later events and links concern few people.
Their contribution to the base is subtracted, and their current contribution is added. The result is exact,
because a user's contribution depends only on the user's own events. The base is counted again when ages
advance, or when many events have arrived since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.features import AGE_BUCKETS, DAY, WEEKS
from endcap.sdk.user_counting import count_users, count_weekly_users
from endcap.sdk.vocabulary import Rows, frozen


AGE_STEP = 300_000
"""Milliseconds by which ages advance: they count back from the newest event, rounded up to a step."""

REVERSED = -1
"""The code of the type of a recent event that was taken back."""

_UNSORTED = 10_000  # the most unsorted events on top of a base, besides a quarter of the sorted ones

_Counts: TypeAlias = Mapping[str, NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class EventColumnsByPerson:
    """Events of numbered people; a user has the same number as a person."""

    people: NDArray[np.int32]
    rows: Rows
    types: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float32]

    def of(self, chosen: NDArray[np.bool_]) -> "EventColumnsByPerson":
        """Return the chosen events."""
        return EventColumnsByPerson(
            self.people[chosen],
            self.rows[chosen],
            self.types[chosen],
            self.times[chosen],
            self.values[chosen],
        )

    def __add__(self, later: "EventColumnsByPerson") -> "EventColumnsByPerson":
        return EventColumnsByPerson(
            np.concatenate([self.people, later.people]),
            np.concatenate([self.rows, later.rows]),
            np.concatenate([self.types, later.types]),
            np.concatenate([self.times, later.times]),
            np.concatenate([self.values, later.values]),
        )


@dataclass(frozen=True, eq=False)
class EventLog:
    """A copy of all events of a shop at one moment, for another thread."""

    epoch: int
    """Identifies the sorted events; changes when they are sorted again or a person is forgotten."""

    revision: int
    row_count: int
    type_names: tuple[str, ...]

    users: NDArray[np.int32]
    """The user that each person counts as."""

    offsets: NDArray[np.int64]
    """Person ``p`` owns ``[offsets[p]:offsets[p + 1]]`` of the sorted events."""

    columns: tuple[Rows, NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]
    """The events sorted by person, then time: rows, types, times, values."""

    recent: EventColumnsByPerson
    """The later events, in the order of arrival; type ``REVERSED`` for those that were taken back."""

    reversed_places: NDArray[np.int64]
    """Places of the sorted events that were taken back."""

    reversal_count: int
    """The number of reversals since the events were sorted."""

    @cached_property
    def sorted(self) -> EventColumnsByPerson:
        """The sorted events."""
        people = np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))
        return EventColumnsByPerson(people, *self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class SortedEvents:
    """The events of a log after sorting, with which the histories replace their own."""

    epoch: int
    recent_count: int
    reversal_count: int
    offsets: NDArray[np.int64]
    columns: tuple[Rows, NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class UserCounts:
    """Number of users by event type and row, by the age of the last time and by week."""

    counts: _Counts
    """For every event type the age buckets and below them the weeks, ``(AGE_BUCKETS + WEEKS, rows)``."""

    as_of: int
    revision: int
    epoch: int

    base: _Counts
    """The counts of the sorted events alone."""

    base_users: NDArray[np.int32]
    """The user that each person counted as in the base."""

    @property
    def users_by_age(self) -> _Counts:
        """The counts as in ``CatalogView.users_by_age``."""
        return {name: counts[:AGE_BUCKETS] for name, counts in self.counts.items()}

    @property
    def users_by_week(self) -> _Counts:
        """The counts as in ``CatalogView.users_by_week``."""
        return {name: counts[AGE_BUCKETS:] for name, counts in self.counts.items()}


def is_due(counts: UserCounts | None, log: EventLog) -> bool:
    """Return whether to sort and count all events again: ages advanced, or many events arrived."""
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
        keep_days: Events more than this many days older than the newest are left out, as in ``prune_shop``;
            0 keeps all.
        now: Unix milliseconds; later events are ignored when the newest is determined.
    """
    events = log.sorted + log.recent
    counting = events.types != REVERSED
    counting[log.reversed_places] = False  # the sorted events come first
    if not counting.all():
        events = events.of(counting)
    if keep_days:
        newest = int(events.times[events.times <= now].max(initial=0))
        events = events.of(events.times >= newest - keep_days * DAY)
    order = np.lexsort((events.times, events.people))
    counts = np.bincount(events.people, minlength=len(log.users))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    columns = (events.rows[order], events.types[order], events.times[order], events.values[order])
    return SortedEvents(log.epoch, len(log.recent.rows), log.reversal_count, offsets, columns)


def count_log(counts: UserCounts | None, log: EventLog) -> UserCounts:
    """Return the counts of a log, updated from earlier counts where possible."""
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
        kept = touched[now]
        kept[log.reversed_places] = False
        after = log.sorted.of(kept) + log.recent
        total = _sum(
            base, _count(before, base_users, log, as_of), _count(after, log.users, log, as_of), log.row_count
        )
    return UserCounts(MappingProxyType(dict(total)), as_of, log.revision, log.epoch, base, base_users)


def _touched(log: EventLog, base_users: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Return whether each user's events differ from the base; None if no user's do."""
    moved = np.flatnonzero(log.users[: len(base_users)] != base_users)
    people = np.concatenate([log.recent.people, log.sorted.people[log.reversed_places]])
    if not len(moved) and not len(people):
        return None
    touched = np.zeros(len(log.users), np.bool_)
    touched[log.users[people]] = True
    touched[log.users[moved]] = True
    touched[base_users[moved]] = True
    # A person who was linked since counted as another user in the base, so both users are touched.
    known = people[people < len(base_users)]
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
            columns = (of_events[chosen], rows, times, log.row_count, as_of)
            counts[name] = frozen(np.concatenate([count_users(*columns), count_weekly_users(*columns)]))
    return counts


def _sum(base: _Counts, before: _Counts, after: _Counts, row_count: int) -> _Counts:
    total = dict(base)
    for name in before.keys() | after.keys():
        summed = np.zeros((AGE_BUCKETS + WEEKS, row_count), np.int32)
        for counts, sign in ((base, 1), (before, -1), (after, 1)):
            if name in counts:
                count = counts[name]  # has fewer rows if some are new
                summed[:, : count.shape[1]] += sign * count
        total[name] = frozen(summed)
    return total


def _as_of(log: EventLog) -> int:
    newest = max(int(times.max(initial=0)) for times in (log.columns[2], log.recent.times))
    return -(-newest // AGE_STEP) * AGE_STEP

"""Events by person, as numbers: most are sorted in columns, later ones are kept in the order of arrival.

A sorted event takes 20 bytes. Later events have an index by person, until ``adopt`` takes over a sorted copy.
"""

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.memory.user_counts import REVERSED, EventColumnsByPerson, EventLog, SortedEvents
from endcap.sdk.vocabulary import Rows


Columns: TypeAlias = tuple[Rows, NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]
"""Rows, type codes, times and values of events."""

_SORTED = -1  # stands for the place of a sorted event


class EventsByPerson:
    """The events of numbered people. Use it from one thread."""

    def __init__(self) -> None:
        self.epoch = 0
        """A number that increases whenever the sorted events are replaced."""

        # Sorted by person, then time: person p owns [offsets[p]:offsets[p + 1]].
        self._offsets: NDArray[np.int64] = np.zeros(1, np.int64)
        self._sorted: Columns = (
            np.empty(0, np.int32),
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0, np.float32),
        )
        self._reversed_places = np.empty(0, np.int64)  # of the sorted events

        # In the order of arrival; _recent holds the indices of each person's events.
        self._recent: dict[int, array[int]] = {}
        self._new_people = array("i")
        self._new_rows = array("i")
        self._new_types = array("i")
        self._new_times = array("q")
        self._new_values = array("f")

        # Since the events were sorted: each place of arrival or _SORTED, person, row, type code and time.
        self._reversed: list[tuple[int, int, int, int, int]] = []

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._sorted[0]) + len(self._new_rows) - len(self._reversed)

    def add(self, person: int, row: int, type_code: int, time: int, value: float) -> None:
        """Add an event."""
        recent = self._recent.get(person)
        if recent is None:
            recent = self._recent[person] = array("i")
        recent.append(len(self._new_rows))
        self.load(person, row, type_code, time, value)

    def load(self, person: int, row: int, type_code: int, time: int, value: float) -> None:
        """Add an event without an index; ``adopt`` must follow before it is read."""
        self._new_people.append(person)
        self._new_rows.append(row)
        self._new_types.append(type_code)
        self._new_times.append(time)
        self._new_values.append(value)

    def remove(self, person: int, row: int, type_code: int, time: int) -> None:
        """Remove an event that was taken back: of several alike one, and nothing if none is held."""
        recent = self._recent.get(person, array("i"))
        for place in recent:
            if (self._new_rows[place], self._new_types[place], self._new_times[place]) == (
                row,
                type_code,
                time,
            ):
                recent.remove(place)
                self._new_types[place] = REVERSED
                self._reversed.append((place, person, row, type_code, time))
                return
        places = self._sorted_places(person)
        rows, types, times, _ = (column[places] for column in self._sorted)
        alike = places[(rows == row) & (types == type_code) & (times == time)]
        if len(alike):
            self._reversed_places = np.append(self._reversed_places, alike[0])
            self._reversed.append((_SORTED, person, row, type_code, time))

    def drop_people(self, people: AbstractSet[int]) -> None:
        """Remove all events of people."""
        stays = np.ones(len(self._sorted[0]), np.bool_)
        stays[self._reversed_places] = False
        for person in people:
            stays[self._sorted_places(person)] = False
        rows, types, times, values = self._sorted
        self._sorted = (rows[stays], types[stays], times[stays], values[stays])
        self._offsets = np.concatenate(([0], np.cumsum(stays, dtype=np.int64)))[self._offsets]
        kept = [event for event in self._new(0) if event[0] not in people]
        self._clear_new()
        for event in kept:
            self.add(*event)
        self.epoch += 1

    def of(self, people: Sequence[int], newest: int | None = None) -> Columns:
        """Return the events of people, unordered; with ``newest``, only that many newest events of each."""
        last = slice(None if newest is None else -newest, None)
        places = [self._sorted_places(person)[last] for person in people]
        recent = [place for person in people for place in self._recent.get(person, ())[last]]
        rows, types, times, values = self._sorted
        return (
            np.concatenate([*(rows[place] for place in places), _pick(self._new_rows, recent, np.int32)]),
            np.concatenate([*(types[place] for place in places), _pick(self._new_types, recent, np.int32)]),
            np.concatenate([*(times[place] for place in places), _pick(self._new_times, recent, np.int64)]),
            np.concatenate(
                [*(values[place] for place in places), _pick(self._new_values, recent, np.float32)]
            ),
        )

    def log(
        self, *, users: "array[int]", type_names: tuple[str, ...], row_count: int, revision: int
    ) -> EventLog:
        """Return a copy of all events, for another thread.

        Args:
            users: The user that each person counts as.
            type_names: The names of the type codes.
            row_count: The number of rows.
            revision: The shop's revision up to which the events are complete.
        """
        return EventLog(
            epoch=self.epoch,
            revision=revision,
            row_count=row_count,
            type_names=type_names,
            users=np.array(users, np.int32),
            offsets=self._offsets,
            columns=self._sorted,
            recent=EventColumnsByPerson(
                np.array(self._new_people, np.int32),
                np.array(self._new_rows, np.int32),
                np.array(self._new_types, np.int32),
                np.array(self._new_times, np.int64),
                np.array(self._new_values, np.float32),
            ),
            reversed_places=self._reversed_places,
            reversal_count=len(self._reversed),
        )

    def adopt(self, events: SortedEvents) -> bool:
        """Take over sorted events; return False if the log they come from is outdated."""
        if events.epoch != self.epoch:
            return False
        later, reversed_later = self._new(events.recent_count), self._reversed[events.reversal_count :]
        self._sorted, self._offsets = events.columns, events.offsets
        self._clear_new()
        for event in later:
            self.add(*event)
        for place, *reversed_event in reversed_later:
            if place < events.recent_count:  # others left with the events that arrived later
                self.remove(*reversed_event)
        self.epoch += 1
        return True

    def _sorted_places(self, person: int) -> NDArray[np.int64]:
        """Return the places of a person's sorted events that were not taken back, oldest first."""
        if person + 1 >= len(self._offsets):
            return np.empty(0, np.int64)
        places = np.arange(*self._offsets[person : person + 2])
        return np.setdiff1d(places, self._reversed_places) if len(self._reversed_places) else places

    def _new(self, start: int) -> list[tuple[int, int, int, int, float]]:
        """Return the events that arrived from a place on and were not taken back."""
        events = zip(
            self._new_people[start:],
            self._new_rows[start:],
            self._new_types[start:],
            self._new_times[start:],
            self._new_values[start:],
            strict=True,
        )
        return [event for event in events if event[2] != REVERSED]

    def _clear_new(self) -> None:
        self._reversed, self._reversed_places = [], np.empty(0, np.int64)
        self._recent.clear()
        self._new_people, self._new_rows, self._new_types = array("i"), array("i"), array("i")
        self._new_times, self._new_values = array("q"), array("f")


def _pick(
    values: "array[int] | array[float]", places: Sequence[int], dtype: type[np.generic]
) -> NDArray[np.generic]:
    return np.array([values[place] for place in places], dtype)

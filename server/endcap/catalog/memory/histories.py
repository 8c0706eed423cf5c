"""Histories: the events of every user and visitor of one shop, in memory, as rows of one vocabulary.

Loaded events are kept sorted in columns, 24 bytes each. Later events are kept in the order of arrival, with
an index by person, until ``adopt`` takes over a sorted copy. A visitor's events stay the visitor's own: the
history of a user is assembled on request from the events of the user and of linked visitors, so a link costs
nothing and can change.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.events.events import Event, event_value
from endcap.catalog.memory.user_counts import EventColumnsByPerson, EventLog, SortedEvents
from endcap.sdk.query import History
from endcap.sdk.vocabulary import UNKNOWN, Rows, Vocabulary


LENGTH = 1_000
"""The number of newest events that a history gives to strategies."""

SEEN_TYPES = ("purchase",)
"""The default of the event types that make an item seen."""

_Columns: TypeAlias = tuple[Rows, NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]
# rows, type codes, times, values

EventRow: TypeAlias = tuple[str | None, str | None, str, str, int, float]
"""User id, visitor id, item id, type, time in Unix milliseconds, and value: ``event_value`` has it."""


class Histories:
    """The events of one shop by person. Use it from one thread.

    Events of items that the vocabulary does not hold wait until it does.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.revision = 0
        """The last revision of the shop up to which all events are included."""
        self._ahead: set[int] = set()  # later revisions that are included although an earlier one is not
        self._vocabulary = vocabulary
        self.users: dict[str, int] = {}
        """The people who have events as users, by user id."""
        self.visitors: dict[str, int] = {}
        """Those who have events as visitors, by visitor id."""
        self._user_of = array("i")  # by person: the user whom the events count for, or the person's own
        self.epoch = 0
        """A number that increases whenever the sorted events are replaced."""
        self._visitors_of: dict[int, set[int]] = {}
        self._type_codes: dict[str, int] = {}
        self._type_names = np.empty(0, np.str_)

        # Sorted by person, then time: person p owns [offsets[p]:offsets[p + 1]].
        self._offsets = np.zeros(1, np.int64)
        self._sorted: _Columns = (
            np.empty(0, np.int32),
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0, np.float32),
        )

        # In the order of arrival; _recent holds the indices of each person's events.
        self._recent: dict[int, array[int]] = {}
        self._new_people = array("i")
        self._new_rows = array("i")
        self._new_types = array("i")
        self._new_times = array("q")
        self._new_values = array("f")

        # By item id, each event as four numbers: person, type code, time, value.
        self._waiting: dict[str, array[float]] = {}

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._sorted[0]) + len(self._new_rows)

    def append(self, events: Iterable[Event]) -> None:
        """Add events; an event with both a user and a visitor links the two."""
        self.extend(map(_row, events))

    def extend(self, rows: Iterable[EventRow]) -> None:
        """Add events as tuples, faster than ``append``."""
        first = len(self._new_rows)
        self.load(rows)
        for place in range(first, len(self._new_rows)):
            self._recent.setdefault(self._new_people[place], array("i")).append(place)

    def load(self, rows: Iterable[EventRow]) -> None:
        """Add events like ``extend`` but without an index; ``adopt`` must follow before they are read."""
        for user_id, visitor_id, item_id, event_type, time, value in rows:
            if user_id is None:
                person = self._visitor(visitor_id or "")
            else:
                person = self._user(user_id)
                if visitor_id is not None:
                    self.link(visitor_id, user_id)
            row, type_code = self._vocabulary.row(item_id), self._type_code(event_type)
            if row == UNKNOWN:
                self._waiting.setdefault(item_id, array("d")).extend((person, type_code, time, value))
            else:
                self._append(person, row, type_code, time, value)

    def follow(self, vocabulary: Vocabulary) -> None:
        """Switch to a vocabulary with further items at the end, and add the events that waited for them."""
        for row in range(len(self._vocabulary), len(vocabulary)):
            for person, type_code, time, value in _fours(self._waiting.pop(vocabulary.ids[row], ())):
                self._add(int(person), row, int(type_code), int(time), value)
        self._vocabulary = vocabulary

    def apply(self, events: Iterable[Event], revision: int) -> None:
        """Add the events of one revision, unless they are included; revisions may come in any order."""
        if not self.has(revision):
            self.append(events)
            self._ahead.add(revision)
            while self.revision + 1 in self._ahead:
                self.reach(self.revision + 1)

    def has(self, revision: int) -> bool:
        """Return whether the events of a revision are included."""
        return revision <= self.revision or revision in self._ahead

    def reach(self, revision: int) -> None:
        """Note that all events up to a revision are included."""
        self.revision = max(self.revision, revision)
        self._ahead = {ahead for ahead in self._ahead if ahead > self.revision}

    def link(self, visitor_id: str, user_id: str) -> None:
        """Link a visitor to a user; a new link replaces the old one."""
        visitor, user = self._visitor(visitor_id), self._user(user_id)
        before = self._user_of[visitor]
        if before != user:
            if before != visitor:
                self._visitors_of[before].remove(visitor)
            self._user_of[visitor] = user
            self._visitors_of.setdefault(user, set()).add(visitor)

    def is_linked(self, visitor_id: str, user_id: str) -> bool:
        """Say whether a visitor is a user."""
        visitor = self.visitors.get(visitor_id)
        return visitor is not None and self._user_of[visitor] == self.users.get(user_id)

    def forget(self, user_ids: Iterable[str], visitor_ids: Iterable[str]) -> None:
        """Drop people and what they did."""
        gone = [self.users.pop(user_id) for user_id in user_ids if user_id in self.users]
        gone += [self.visitors.pop(visitor_id) for visitor_id in visitor_ids if visitor_id in self.visitors]
        for person in gone:
            self._visitors_of.get(self._user_of[person], set()).discard(person)
            self._user_of[person] = person
            for visitor in self._visitors_of.pop(person, ()):
                self._user_of[visitor] = visitor
        if gone:
            self.epoch += 1
            self._drop_events(set(gone))

    def of(self, user_id: str | None = None, visitor_id: str | None = None) -> History:
        """Return the newest ``LENGTH`` events of a person, oldest first.

        A linked visitor stands for its user; the events of an unlinked visitor are added to those of
        ``user_id``. Unknown people have an empty history.
        """
        rows, types, times, values = self._columns(self._people(user_id, visitor_id), LENGTH)
        newest = np.argsort(times, kind="stable")[-LENGTH:]
        return History(rows[newest], self._type_names[types[newest]], times[newest], values[newest])

    def seen(
        self,
        user_id: str | None = None,
        visitor_id: str | None = None,
        *,
        types: Sequence[str] = SEEN_TYPES,
        since: int = 0,
    ) -> Rows:
        """Return the rows that a person has seen, in ascending order without repeats.

        Args:
            user_id: As for ``of``.
            visitor_id: As for ``of``.
            types: The event types that make an item seen.
            since: Unix milliseconds; earlier events do not count.
        """
        rows, codes, times, _ = self._columns(self._people(user_id, visitor_id))
        makes_seen = np.array([name in types for name in self._type_codes], np.bool_)
        seen: Rows = np.unique(rows[makes_seen[codes] & (times >= since)])
        return seen

    def log(self) -> EventLog:
        """Return a copy of all events, for another thread."""
        return EventLog(
            epoch=self.epoch,
            revision=self.revision,
            row_count=len(self._vocabulary),
            type_names=tuple(self._type_codes),
            users=np.array(self._user_of, np.int32),
            offsets=self._offsets,
            columns=self._sorted,
            recent=EventColumnsByPerson(
                np.array(self._new_people, np.int32),
                np.array(self._new_rows, np.int32),
                np.array(self._new_types, np.int32),
                np.array(self._new_times, np.int64),
                np.array(self._new_values, np.float32),
            ),
        )

    def adopt(self, events: SortedEvents) -> bool:
        """Take over sorted events; return False if the log they come from is outdated."""
        if events.epoch != self.epoch:
            return False
        done = events.recent_count
        later = (
            self._new_people[done:],
            self._new_rows[done:],
            self._new_types[done:],
            self._new_times[done:],
            self._new_values[done:],
        )
        self._sorted, self._offsets = events.columns, events.offsets
        self._clear_new()
        for event in zip(*later, strict=True):
            self._add(*event)
        self.epoch += 1
        return True

    @property
    def awaited(self) -> int:
        """The last revision whose events are included, even if earlier revisions are missing."""
        return max(self._ahead, default=self.revision)

    def _add(self, person: int, row: int, type_code: int, time: int, value: float) -> None:
        self._recent.setdefault(person, array("i")).append(len(self._new_rows))
        self._append(person, row, type_code, time, value)

    def _append(self, person: int, row: int, type_code: int, time: int, value: float) -> None:
        self._new_people.append(person)
        self._new_rows.append(row)
        self._new_types.append(type_code)
        self._new_times.append(time)
        self._new_values.append(value)

    def _drop_events(self, people: AbstractSet[int]) -> None:
        known = [person for person in people if self._has_sorted(person)]
        places = [np.arange(*self._offsets[person : person + 2]) for person in known]
        dropped = np.concatenate([np.empty(0, np.int64), *places])
        rows, types, times, values = self._sorted
        others = np.delete(np.arange(len(rows)), dropped)
        self._sorted = (rows[others], types[others], times[others], values[others])
        counts = np.diff(self._offsets)
        counts[known] = 0
        self._offsets = np.concatenate(([0], np.cumsum(counts)))
        appended = zip(
            self._new_people,
            self._new_rows,
            self._new_types,
            self._new_times,
            self._new_values,
            strict=True,
        )
        kept = [event for event in appended if event[0] not in people]
        self._clear_new()
        for event in kept:
            self._add(*event)
        for item_id, waiting in list(self._waiting.items()):
            left = [number for event in _fours(waiting) if event[0] not in people for number in event]
            if left:
                self._waiting[item_id] = array("d", left)
            else:
                del self._waiting[item_id]

    def _clear_new(self) -> None:
        self._recent.clear()
        self._new_people, self._new_rows, self._new_types = array("i"), array("i"), array("i")
        self._new_times, self._new_values = array("q"), array("f")

    def _user(self, user_id: str) -> int:
        person = self.users.get(user_id)
        return self.users.setdefault(user_id, self._new_person()) if person is None else person

    def _visitor(self, visitor_id: str) -> int:
        person = self.visitors.get(visitor_id)
        return self.visitors.setdefault(visitor_id, self._new_person()) if person is None else person

    def _new_person(self) -> int:
        self._user_of.append(len(self._user_of))
        return len(self._user_of) - 1

    def _type_code(self, name: str) -> int:
        code = self._type_codes.get(name)
        if code is None:
            code = self._type_codes[name] = len(self._type_codes)
            self._type_names = np.array(list(self._type_codes))
        return code

    def _people(self, user_id: str | None, visitor_id: str | None) -> list[int]:
        """Return the user and the visitors whose events together are one history."""
        visitor = None if visitor_id is None else self.visitors.get(visitor_id)
        linked = None if visitor is None or self._user_of[visitor] == visitor else self._user_of[visitor]
        user = linked if user_id is None else self.users.get(user_id)
        people = [] if user is None else [user, *self._visitors_of.get(user, ())]
        if visitor is not None and linked is None:
            people.append(visitor)
        return people

    def _columns(self, people: Sequence[int], newest: int | None = None) -> _Columns:
        """Return the events of people, unordered; with ``newest``, only that many newest events of each."""
        places = [slice(*self._offsets[person : person + 2]) for person in people if self._has_sorted(person)]
        if newest is not None:
            places = [slice(max(place.start, place.stop - newest), place.stop) for place in places]
        recent = [
            place
            for person in people
            for place in self._recent.get(person, ())[slice(None if newest is None else -newest, None)]
        ]
        rows, types, times, values = self._sorted
        return (
            np.concatenate([*(rows[place] for place in places), _pick(self._new_rows, recent, np.int32)]),
            np.concatenate([*(types[place] for place in places), _pick(self._new_types, recent, np.int32)]),
            np.concatenate([*(times[place] for place in places), _pick(self._new_times, recent, np.int64)]),
            np.concatenate(
                [*(values[place] for place in places), _pick(self._new_values, recent, np.float32)]
            ),
        )

    def _has_sorted(self, person: int) -> bool:
        return person + 1 < len(self._offsets)


def _row(event: Event) -> EventRow:
    value = event_value(event.type, event.quantity, event.value)
    return event.user_id, event.visitor_id, event.item_id, event.type, event.time, value


def _fours(numbers: Sequence[float]) -> Iterator[tuple[float, float, float, float]]:
    return zip(numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4], strict=True)


def _pick(
    values: "array[int] | array[float]", places: Sequence[int], dtype: type[np.generic]
) -> NDArray[np.generic]:
    return np.array([values[place] for place in places], dtype)

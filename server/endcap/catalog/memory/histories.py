"""Histories: the events of every user and visitor of one shop, in memory, as rows of one vocabulary.

A visitor's events stay the visitor's own: the history of a user is assembled on request from the events of
the user and of linked visitors, so a link costs nothing and can change.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from endcap.catalog.events.events import Event, event_value
from endcap.catalog.memory.events_by_person import EventsByPerson
from endcap.catalog.memory.unknown_items import EventsOfUnknownItems
from endcap.catalog.memory.user_counts import EventLog, SortedEvents
from endcap.sdk.query import History
from endcap.sdk.vocabulary import UNKNOWN, Rows, Vocabulary


LENGTH = 1_000
"""The number of newest events that a history gives to strategies."""

SEEN_TYPES = ("purchase",)
"""The default of the event types that make an item seen."""

EventRow: TypeAlias = tuple[str | None, str | None, str, str, int, float]
"""User id, visitor id, item id, type, time in Unix milliseconds, and value: ``event_value`` has it."""


class Histories:
    """The events of one shop by person. Use it from one thread.

    Events of items that the vocabulary does not hold wait until it does. Events without an item, and events
    that take back another, only link their visitor to their user.
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
        self._visitors_of: dict[int, set[int]] = {}
        self._type_codes: dict[str, int] = {}
        self._type_names = np.empty(0, np.str_)

        self._events = EventsByPerson()
        self._waiting = EventsOfUnknownItems()
        self._to_reverse: list[Event] = []  # until all revisions before their reversals are included

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._events)

    @property
    def epoch(self) -> int:
        """A number that increases whenever the sorted events are replaced."""
        return self._events.epoch

    def append(self, events: Iterable[Event]) -> None:
        """Add events; an event with both a user and a visitor links the two.

        An event with a ``reversed_revision`` is removed instead, once all revisions up to that are included.
        """
        events = tuple(events)
        added = [event for event in events if event.reversed_revision is None]
        self.extend(
            (
                each.user_id,
                each.visitor_id,
                "" if each.reversed_event_id else each.item_id,
                each.type,
                each.time,
                event_value(each.type, each.quantity, each.value),
            )
            for each in added
        )
        if len(added) < len(events):
            self._to_reverse += [event for event in events if event.reversed_revision is not None]

    def extend(self, rows: Iterable[EventRow]) -> None:
        """Add events as tuples, faster than ``append``.

        The item id is empty for an event that only links its visitor to its user.
        """
        self._take(rows, self._events.add)

    def load(self, rows: Iterable[EventRow]) -> None:
        """Add events like ``extend`` but without an index; ``adopt`` must follow before they are read."""
        self._take(rows, self._events.load)

    def follow(self, vocabulary: Vocabulary) -> None:
        """Switch to a vocabulary with further items at the end, and add the events that waited for them."""
        for row in range(len(self._vocabulary), len(vocabulary)):
            for person, type_code, time, value in self._waiting.pop(vocabulary.ids[row]):
                self._events.add(person, row, type_code, time, value)
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
        events, self._to_reverse = self._to_reverse, []
        for event in events:
            if (event.reversed_revision or 0) <= self.revision:
                self._reverse(event)
            else:
                self._to_reverse.append(event)

    def link(self, visitor_id: str, user_id: str) -> None:
        """Link a visitor to a user; a new link replaces the old one."""
        visitor, user = self._person(self.visitors, visitor_id), self._person(self.users, user_id)
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
            self._events.drop_people(set(gone))
            self._waiting.drop_people(set(gone))

    def of(self, user_id: str | None = None, visitor_id: str | None = None) -> History:
        """Return the newest ``LENGTH`` events of a person, oldest first.

        A linked visitor stands for its user; the events of an unlinked visitor are added to those of
        ``user_id``. Unknown people have an empty history.
        """
        rows, types, times, values = self._events.of(self._people(user_id, visitor_id), LENGTH)
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
        rows, codes, times, _ = self._events.of(self._people(user_id, visitor_id))
        makes_seen = np.array([name in types for name in self._type_codes], np.bool_)
        seen: Rows = np.unique(rows[makes_seen[codes] & (times >= since)])
        return seen

    def log(self) -> EventLog:
        """Return a copy of all events, for another thread."""
        return self._events.log(
            users=self._user_of,
            type_names=tuple(self._type_codes),
            row_count=len(self._vocabulary),
            revision=self.revision,
        )

    def adopt(self, events: SortedEvents) -> bool:
        """Take over sorted events; return False if the log they come from is outdated."""
        return self._events.adopt(events)

    @property
    def awaited(self) -> int:
        """The last revision whose events are included, even if earlier revisions are missing."""
        return max(self._ahead, default=self.revision)

    def _take(
        self,
        rows: Iterable[EventRow],
        add: Callable[[int, int, int, int, float], None],
    ) -> None:
        for user_id, visitor_id, item_id, event_type, time, value in rows:
            if user_id is None:
                person = self._person(self.visitors, visitor_id or "")
            else:
                person = self._person(self.users, user_id)
                if visitor_id is not None:
                    self.link(visitor_id, user_id)
            if not item_id:
                continue
            row, type_code = self._vocabulary.row(item_id), self._type_code(event_type)
            if row == UNKNOWN:
                self._waiting.add(item_id, person, type_code, time, value)
            else:
                add(person, row, type_code, time, value)

    def _reverse(self, event: Event) -> None:
        """Remove an event that was taken back, if it is held."""
        person = self.users.get(event.user_id) if event.user_id else self.visitors.get(event.visitor_id or "")
        type_code = self._type_codes.get(event.type)
        if person is None or type_code is None:
            return
        row = self._vocabulary.row(event.item_id)
        if row == UNKNOWN:
            self._waiting.remove(event.item_id, (person, type_code, event.time))
        else:
            self._events.remove(person, row, type_code, event.time)

    def _person(self, known: dict[str, int], identifier: str) -> int:
        person = known.get(identifier)
        if person is None:
            person = known[identifier] = len(self._user_of)
            self._user_of.append(person)
        return person

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

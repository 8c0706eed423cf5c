"""Events of items that the catalog does not hold, kept until it does."""

from array import array
from collections.abc import Iterator
from collections.abc import Set as AbstractSet


class EventsOfUnknownItems:
    """Events by item id, each as four numbers: person, type code, time and value."""

    def __init__(self) -> None:
        self._events: dict[str, array[float]] = {}

    def add(self, item_id: str, person: int, type_code: int, time: int, value: float) -> None:
        """Add an event."""
        self._events.setdefault(item_id, array("d")).extend((person, type_code, time, value))

    def pop(self, item_id: str) -> Iterator[tuple[int, int, int, float]]:
        """Remove and return the events of an item."""
        numbers = self._events.pop(item_id, array("d"))
        for person, type_code, time, value in zip(*(numbers[place::4] for place in range(4)), strict=True):
            yield int(person), int(type_code), int(time), value

    def remove(self, item_id: str, event: tuple[int, int, int]) -> None:
        """Remove one event of an item if there is one like it."""
        events = list(self.pop(item_id))
        alike = [place for place, held in enumerate(events) if held[:3] == event]
        for other in events[: alike[0]] + events[alike[0] + 1 :] if alike else events:
            self.add(item_id, *other)

    def drop_people(self, people: AbstractSet[int]) -> None:
        """Remove all events of people."""
        for item_id in list(self._events):
            for event in self.pop(item_id):
                if event[0] not in people:
                    self.add(item_id, *event)

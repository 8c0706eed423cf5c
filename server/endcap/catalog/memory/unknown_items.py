"""Events of items that the catalog does not hold, kept until it does."""

from array import array
from collections.abc import Iterator
from collections.abc import Set as AbstractSet


class EventsOfUnknownItems:
    """Events by item id, each as three numbers: person, type code and time."""

    def __init__(self) -> None:
        self._events: dict[str, array[int]] = {}

    def add(self, item_id: str, person: int, type_code: int, time: int) -> None:
        """Add an event."""
        self._events.setdefault(item_id, array("q")).extend((person, type_code, time))

    def pop(self, item_id: str) -> Iterator[tuple[int, int, int]]:
        """Remove and return the events of an item."""
        return _triples(self._events.pop(item_id, array("q")))

    def remove(self, item_id: str, event: tuple[int, int, int]) -> None:
        """Remove one event of an item if there is one like it."""
        events = list(self.pop(item_id))
        if event in events:
            events.remove(event)
        for other in events:
            self.add(item_id, *other)

    def drop_people(self, people: AbstractSet[int]) -> None:
        """Remove all events of people."""
        for item_id in list(self._events):
            for event in self.pop(item_id):
                if event[0] not in people:
                    self.add(item_id, *event)


def _triples(numbers: "array[int]") -> Iterator[tuple[int, int, int]]:
    return zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)

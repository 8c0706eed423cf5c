"""One page, filled place by place from a ranking.

The best item that is still allowed takes the next place. What is allowed, and what is best:

- **One of a group.** Of the variants of one product, one is on the page; this holds for pins too.
- **Pins** stand at their places before anything else is placed. A pinned item stays whatever the caps say,
  but caps and quotas count it; a slot takes the best match that the caps let in. Where a page ends before
  the place of a pin, the pinned item moves up to the end.
- **Caps** are kept exactly by all other items.
- **Quotas** reserve places as late as they can: when no more places are left than the quotas still need
  and can get, only items that match are placed. A page that would be short is filled as if there were no
  quotas, for then every item finds a place that the caps let in.
- **The rung**: an item of a lower rung is placed only where no item of the rungs above is allowed.
- **Diversity** chooses among the allowed items of that rung.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.server.rules.diversity import Spread
from endcap.server.rules.limits import Tally
from endcap.server.rules.parts import Cap, Likeness, Pin, Quota, Window
from endcap.server.rules.pool import Ranking


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page as it was filled."""

    indices: tuple[int, ...]
    """Into the ranking, by place."""

    pins: dict[int, int]
    """The place of each pinned item, by its index into the ranking."""

    caps: tuple[Tally, ...]

    crowded: "Crowded | None"


@dataclass(frozen=True, slots=True, eq=False)
class Crowded:
    """Where on a page no item is as unlike those near it as a rule asks for."""

    place: int | None
    """From 0; None where it is the whole page."""

    apart: NDArray[np.bool_]
    """The rows of the view that would be."""


def fill(ranking: Ranking, rules: Sequence[object]) -> Page:
    """Fill a page by the rules that place; others are passed over."""
    page_size = ranking.pool.context.page_size
    page = _Filling(ranking, rules).filled()
    if len(page.indices) < page_size and any(isinstance(rule, Quota) for rule in rules):
        page = _Filling(ranking, [rule for rule in rules if not isinstance(rule, Quota)]).filled()
    return page


class _Filling:
    """A page while it is filled."""

    def __init__(self, ranking: Ranking, rules: Iterable[object]) -> None:
        rules = tuple(rules)
        self._ranking = ranking
        self._size = ranking.pool.context.page_size
        self._has_groups = ranking.pool.context.view.has_groups
        self._left = np.ones(len(ranking), np.bool_)
        self._caps = tuple(Tally(rule.limit, ranking) for rule in rules if isinstance(rule, Cap))
        self._windows = tuple(Tally(rule.limit, ranking) for rule in rules if isinstance(rule, Window))
        self._spread = _spread(ranking, rules)
        self._quotas = [
            _Need(rule.count(self._size), ranking.matching(rule.filter))
            for rule in rules
            if isinstance(rule, Quota)
        ]
        self._ahead: dict[int, int] = {}
        self._pinned: list[int] = []
        self._crowded: Crowded | None = None
        if ranking.pool.context.first_page:
            self._pin([rule for rule in rules if isinstance(rule, Pin)])

    def filled(self) -> Page:
        places: list[int] = []
        while len(places) < self._size:
            place = len(places)
            if place in self._ahead:
                places.append(self._ahead.pop(place))
                continue
            index = self._best(place)
            if index is not None:
                self._put(index, place)
                places.append(index)
            elif self._ahead:
                places.append(self._moved_up(place))
            else:
                break
        pinned = set(self._pinned)
        pins = {index: place for place, index in enumerate(places) if index in pinned}
        return Page(tuple(places), pins, self._caps, self._crowded)

    def _pin(self, pins: Iterable[Pin]) -> None:
        """Set the pinned items at their places: first those named by id, which caps do not hold back."""
        for pin in sorted(pins, key=lambda pin: not isinstance(pin.target, str)):
            if pin.place >= self._size or pin.place in self._ahead:
                continue
            allowed = self._left & pinnable(self._ranking, pin)
            if not isinstance(pin.target, str):
                allowed = self._capped(allowed, pin.place)
            if allowed.any():
                index = int(allowed.argmax())
                self._put(index, pin.place)
                self._ahead[pin.place] = index
                self._pinned.append(index)

    def _put(self, index: int, place: int) -> None:
        if self._has_groups:
            self._left &= self._ranking.groups != self._ranking.groups[index]
        self._left[index] = False
        for tally in (*self._caps, *self._windows):
            tally.put(index, place)
        for quota in self._quotas:
            quota.count -= int(quota.matching[index])
        if self._spread:
            self._spread.put(index)

    def _moved_up(self, place: int) -> int:
        nearest = min(self._ahead)
        for tally in (*self._caps, *self._windows):
            tally.move(nearest, to=place)
        return self._ahead.pop(nearest)

    def _best(self, place: int) -> int | None:
        allowed = self._reserved(self._capped(self._left, place), self._size - place - len(self._ahead))
        first = int(allowed.argmax()) if len(allowed) else 0
        if not len(allowed) or not allowed[first]:
            return None
        if not self._windows and not self._spread:
            return first
        end = self._ranking.rung_ends[first]
        choice = allowed[first:end]
        for window in self._windows:
            full = window.full(place)
            if full is None:
                continue
            if (apart := choice & ~full[first:end]).any():
                choice = apart
            elif self._crowded is None:
                self._crowded = Crowded(place, ~window.full_rows(place))
        if self._spread:
            worth = np.where(choice, self._spread.worth(first, end), -np.inf)
            return first + int(worth.argmax())
        return first + int(choice.argmax())

    def _capped(self, allowed: NDArray[np.bool_], place: int) -> NDArray[np.bool_]:
        for cap in self._caps:
            full = cap.full(place)
            if full is not None:
                allowed = allowed & ~full
        return allowed

    def _reserved(self, allowed: NDArray[np.bool_], places: int) -> NDArray[np.bool_]:
        """Keep what quotas ask for where they need all places left; where more, what the first asks for."""
        needs: list[int] = []
        wanted: list[NDArray[np.bool_]] = []
        for quota in self._quotas:
            matching = allowed & quota.matching
            need = min(quota.count, int(np.count_nonzero(matching)))
            if need > 0:
                needs.append(need)
                wanted.append(matching)
        if not wanted or sum(needs) < places:
            return allowed
        reserved: NDArray[np.bool_] = np.logical_or.reduce(wanted) if sum(needs) == places else wanted[0]
        return reserved


@dataclass(slots=True)
class _Need:
    """What a quota still needs."""

    count: int
    matching: NDArray[np.bool_]


def pinnable(ranking: Ranking, pin: Pin) -> NDArray[np.bool_]:
    """Return which items of a ranking a pin asks for."""
    if isinstance(pin.target, str):
        asked: NDArray[np.bool_] = ranking.rows == ranking.pool.context.view.vocabulary.row(pin.target)
        return asked
    return ranking.matching(pin.target)


def _spread(ranking: Ranking, rules: Iterable[object]) -> Spread | None:
    """Return the last of the rules that weigh likeness: it decides the order whatever those before say."""
    likeness = [rule for rule in rules if isinstance(rule, Likeness)]
    return likeness[-1].method(ranking, likeness[-1].level) if likeness else None

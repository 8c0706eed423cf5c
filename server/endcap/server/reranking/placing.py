"""One page, filled place by place from a ranking.

The best item that is still allowed takes the next place. These rules decide which items are
allowed, and which one is best:

- **One of a group.** Of the variants of one product, one is on the page; this holds for pins too.
- **Pins** are placed before anything else. Caps do not remove a pinned item,
  but caps and quotas count it; a slot takes the best match that the caps let in. Where a page ends before
  the place of a pin, the pinned item moves up to the end.
- **Caps** are kept exactly by all other items.
- **Quotas** reserve places as late as they can: when no more places are left than the quotas still need
  and can get, only items that match are placed. A page that would be short is filled as if there were no
  quotas, for then every item finds a place that the caps let in.
- **The tier**: an item of a higher tier is placed only where no item of the tiers below is allowed.
- **Diversity** chooses among the allowed items of that tier. It is soft: where they lack unlike ones, the
  best of them is placed, and counted as crowded.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.server.reranking.caps import Tally
from endcap.server.reranking.parts import Cap, Pin, Quota, SimilarityDiversity, Window
from endcap.server.reranking.ranked import RankedCandidates


class FilledPage:
    """A page, filled by the rules that place. Rules are identified by their names."""

    def __init__(self, ranking: RankedCandidates, rules: Mapping[str, object]) -> None:
        self._ranking = ranking
        self._size = ranking.context.page_size
        self._has_groups = ranking.context.view.has_groups
        self._left = np.ones(len(ranking), np.bool_)
        self.caps = {
            name: Tally(rule.limit, ranking) for name, rule in rules.items() if isinstance(rule, Cap)
        }
        self._windows = {
            name: Tally(rule.limit, ranking) for name, rule in rules.items() if isinstance(rule, Window)
        }
        # The last rule that weighs similarity decides the order, regardless of earlier such rules.
        similarity = [(name, rule) for name, rule in rules.items() if isinstance(rule, SimilarityDiversity)]
        self._dispersion = similarity[-1][1].method(ranking, similarity[-1][1].level) if similarity else None
        self._dispersing = similarity[-1][0] if similarity else ""
        self._quotas = [
            _Need(rule.count(self._size), ranking.matching(rule.filter))
            for rule in rules.values()
            if isinstance(rule, Quota)
        ]
        self._ahead: dict[int, int] = {}
        self.indices: list[int] = []
        """Into the ranking, by place."""
        self.pins: dict[int, str] = {}
        """The rule that pinned each pinned item, by its index into the ranking."""
        self.crowded: Counter[str] = Counter()
        """Places for which each diversity rule found no item that is unlike those near it."""
        if ranking.context.first_page:
            self._pin({name: rule for name, rule in rules.items() if isinstance(rule, Pin)})
        self._fill()

    def capped(self, name: str) -> int:
        """Return how many candidates that are left over a cap keeps out."""
        full = self.caps[name].full(len(self.indices))
        return 0 if full is None else int(np.count_nonzero(full & self._left))

    def _fill(self) -> None:
        places = self.indices
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

    def _pin(self, pins: Mapping[str, Pin]) -> None:
        """Set the pinned items at their places: first the items named by id, which caps do not hold back."""
        for name, pin in sorted(pins.items(), key=lambda named: not isinstance(named[1].target, str)):
            if pin.place >= self._size or pin.place in self._ahead:
                continue
            if isinstance(pin.target, str):
                row = self._ranking.context.view.vocabulary.row(pin.target)
                allowed = self._left & (self._ranking.rows == row)
            else:
                allowed = self._capped(self._left & self._ranking.matching(pin.target), pin.place)
            if allowed.any():
                index = int(allowed.argmax())
                self._put(index, pin.place)
                self._ahead[pin.place] = index
                self.pins[index] = name

    def _put(self, index: int, place: int) -> None:
        if self._has_groups:
            self._left &= self._ranking.groups != self._ranking.groups[index]
        self._left[index] = False
        for tally in (*self.caps.values(), *self._windows.values()):
            tally.put(index, place)
        for quota in self._quotas:
            quota.count -= int(quota.matching[index])
        if self._dispersion:
            self._dispersion.put(index)

    def _moved_up(self, place: int) -> int:
        nearest = min(self._ahead)
        for tally in (*self.caps.values(), *self._windows.values()):
            tally.move(nearest, to=place)
        return self._ahead.pop(nearest)

    def _best(self, place: int) -> int | None:
        allowed = self._reserved(self._capped(self._left, place), self._size - place - len(self._ahead))
        first = int(allowed.argmax()) if len(allowed) else 0
        if not len(allowed) or not allowed[first]:
            return None
        if not self._windows and not self._dispersion:
            return first
        end = self._ranking.tier_ends[first]
        choice = allowed[first:end]
        for name, window in self._windows.items():
            full = window.full(place)
            if full is None:
                continue
            if (apart := choice & ~full[first:end]).any():
                choice = apart
            else:
                self.crowded[name] += 1
        if not self._dispersion:
            return first + int(choice.argmax())
        best, crowded = self._dispersion.best(first, choice)
        self.crowded[self._dispersing] += crowded
        return best

    def _capped(self, allowed: NDArray[np.bool_], place: int) -> NDArray[np.bool_]:
        for cap in self.caps.values():
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
    """The items that a quota still needs."""

    count: int
    matching: NDArray[np.bool_]


def fill(ranking: RankedCandidates, rules: Mapping[str, object]) -> FilledPage:
    """Fill a page by the rules that place; others are passed over."""
    page = FilledPage(ranking, rules)
    without_quotas = {name: rule for name, rule in rules.items() if not isinstance(rule, Quota)}
    if len(page.indices) < ranking.context.page_size and len(without_quotas) < len(rules):
        page = FilledPage(ranking, without_quotas)
    return page

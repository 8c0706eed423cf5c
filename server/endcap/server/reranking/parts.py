"""Rules that place: diversity, caps, quotas and pins, as the page reads them."""

from dataclasses import dataclass
from typing import ClassVar

from endcap.sdk.filters import Filter
from endcap.server.reranking.caps import Limit
from endcap.server.reranking.diversity import Dpp, Mmr


@dataclass(frozen=True, slots=True)
class Window:
    """Prefers items that share no value with those near them."""

    order: ClassVar[int] = 3
    limit: Limit


@dataclass(frozen=True, slots=True)
class SimilarityDiversity:
    """Prefers items unlike those on the page."""

    order: ClassVar[int] = 3
    method: type[Mmr | Dpp]
    level: float


@dataclass(frozen=True, slots=True)
class Cap:
    """Lets only so many items that share a value onto a page, or into a stretch of it."""

    order: ClassVar[int] = 4
    limit: Limit


@dataclass(frozen=True, slots=True)
class Quota:
    """Reserves places for items that match."""

    order: ClassVar[int] = 5
    filter: Filter
    share: float

    def count(self, page_size: int) -> int:
        """Return the places reserved on a page."""
        return int(self.share * page_size + 1e-9)  # so that 0.29 of 100 is 29 despite binary rounding


@dataclass(frozen=True, slots=True)
class Pin:
    """Puts an item, or the best one that matches, in a fixed place."""

    order: ClassVar[int] = 6

    place: int
    """From 0."""

    target: str | Filter
    """The item's id, or what it must match."""

"""The answer to one Recommend call: a page of items, and how they came about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from endcap.sdk import Reason, Rows
from endcap.server.reranking import RuleOutcome
from endcap.server.serving.checks import Dropped
from endcap.server.serving.failures import Failure


@dataclass(slots=True, eq=False)
class RungOutcome:
    """The outcome of one rung of the ladder, so far."""

    strategy: str

    wanted: int
    """Items that were missing when it was asked first."""

    ranked: int = 0
    """Items that the strategy named."""

    used: int = 0
    """Items of them that are in the answer."""

    dropped: tuple[Dropped, ...] = ()
    failure: Failure | None = None

    skipped: bool = False
    """Whether it was not asked because its model was never trained, which degrades nothing."""

    detail: str = ""
    milliseconds: float = 0.0

    def count(self, ranked: int, dropped: tuple[Dropped, ...]) -> None:
        """Count the items that the strategy named, and the dropped ones among them."""
        self.ranked += ranked
        self.dropped += dropped
        if self.dropped:
            self.failure = Failure.INVALID_RANKING
            self.detail = f"{sum(len(each.rows) for each in self.dropped)} items were not allowed"


@dataclass(frozen=True, slots=True, eq=False)
class RecommendedItem:
    """One item of an answer."""

    row: int
    item_id: str
    score: float
    strategy: str

    bundles: tuple[str, ...]
    """The bundles behind the score, each as ``model@version``."""

    rung: int
    """The rung of the ladder that it comes from, from 0."""

    reasons: tuple[Reason, ...]

    pinned: bool = False
    """Whether a rule placed the item, regardless of the strategies' scores."""


@dataclass(frozen=True, slots=True, eq=False)
class RecommendationAnswer:
    """The items of a page, best first, and how they came about."""

    items: tuple[RecommendedItem, ...]
    missing_item_ids: tuple[str, ...]

    dropped: tuple[Dropped, ...]
    """Items that the caller named and that may not be shown; empty unless the trace is wanted."""

    rungs: tuple[RungOutcome, ...]

    removed: Mapping[str, int]
    """Rows that each filter removed before ranking, by the filter's name, in the order applied."""

    rules: tuple[RuleOutcome, ...]
    """The outcomes of the placement's rules, in the order applied; empty unless the trace is wanted."""

    eligible: int
    """Rows that were left."""

    has_more: bool
    """Whether rows are left that no page has shown."""

    configuration: int
    """The revision of the placement that answered."""

    candidates: Rows
    """The items that the page was arranged from, fixed before anything is drawn at random; each once."""

    history: int
    """Events of the user that the strategies saw."""

    failures: tuple[Failure, ...]
    """The failures that belong to no rung."""

    def with_failure(self, failure: Failure) -> Self:
        """Return the answer with a failure that belongs to no rung, which counts once."""
        return replace(self, failures=tuple(dict.fromkeys((*self.failures, failure))))

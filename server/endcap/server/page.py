"""One page of an answer while it is being filled: what was found, how it is arranged, what to ask next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import Eligibility, Query, Ranking, Rows
from endcap.sdk.filters import Filter
from endcap.server.answer import Dropped, RecommendedItem, RungOutcome
from endcap.server.failures import Failure
from endcap.server.ladders import Rung
from endcap.server.pool import Pool
from endcap.server.rules import Arranged, Candidates, Context, Rules
from endcap.server.serving.checks import CheckedRanking


_POOL_PAGES = 5
_LEAST_POOL = 100  # rules that rearrange choose from so many items at least
_MOST_SPREADS = 20  # times that one rung is asked for unlike items
PINNED = np.iinfo(np.int32).max  # stands for a rung below all others


@dataclass(slots=True, eq=False)
class RungRecord:
    """What one rung did so far."""

    strategy: str
    wanted: int
    ranked: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    failure: Failure | None = None
    skipped: bool = False
    detail: str = ""
    milliseconds: float = 0.0

    def take_in(self, answers: Iterable[CheckedRanking]) -> None:
        """Count what the strategy named, and what of it was not allowed."""
        for answer in answers:
            self.ranked += answer.ranked
            self.dropped += answer.dropped
        if self.dropped:
            self.failure = Failure.INVALID_RANKING
            count = sum(len(dropped.rows) for dropped in self.dropped)
            self.detail = f"{count} items were not allowed"


@dataclass(eq=False)
class Page:
    """A page while it is being filled."""

    query: Query
    """The question; its limit is the size of the page."""

    rules: Rules
    context: Context

    narrowed: Callable[[Filter], NDArray[np.bool_]]
    """Returns the rows of the query's mask that meet a further condition."""

    pool: Pool = field(default_factory=Pool)
    arranged: Arranged = field(init=False)
    records: list[RungRecord] = field(default_factory=list)
    _added: int = 0  # rows that were new in the last answer
    _spreads: int = 0  # how often the rung was asked for the sake of diversity
    _joined: bool = False  # whether what is asked stands beside what the rung named before, not behind it

    def __post_init__(self) -> None:
        """Put the items that rules pin by their id into the pool: no strategy has to name them."""
        vocabulary = self.context.view.vocabulary
        wants = self.rules.wants(self.query.limit)
        pinned = vocabulary.known(want.item_id for want in wants if want.item_id)
        pinned = pinned[self.query.eligible.allows(pinned)]
        if self.query.candidates is not None:
            pinned = pinned[np.isin(pinned, self.query.candidates)]
        if self.context.first_page and len(pinned):
            self.pool.add(PINNED, [Ranking(pinned, np.zeros(len(pinned), np.float32))])
        self._arrange()

    @property
    def missing(self) -> int:
        """How many items the page lacks."""
        return self.query.limit - len(self.arranged.order) + int(self._strays().sum())

    @property
    def capped(self) -> bool:
        """Whether the page is short of items that caps keep out: the next one counts anew."""
        still_open = self.arranged.open
        if still_open is None or not self.missing or not len(self.arranged.order):
            return False
        shown = self.context.view.with_variants(self.pool.rows[self.arranged.order])
        left = self._allowed[~np.isin(self._allowed, shown)]
        return bool((~still_open[left]).any())

    def begin(self, strategy: str) -> RungRecord:
        """Open the record of the next rung."""
        record = RungRecord(strategy, wanted=self.missing)
        self.records.append(record)
        return record

    def first_queries(self) -> list[Query]:
        """Return what to ask the next rung first: its best while items are missing, and what rules want."""
        self._spreads, self._joined = 0, False
        queries = []
        if self.missing:
            limit = self.missing
            if self.rules.rearranges:
                limit = max(limit, _POOL_PAGES * self.query.limit, _LEAST_POOL)
            queries.append(self._rest(self.query.eligible.mask, limit))
            queries += self._preferred(limit)
        for want in self.rules.wants(self.query.limit):
            if want.filter is not None and (self.missing or want.required):
                mask = self.narrowed(want.filter)
                lacking = want.count - int(np.count_nonzero(mask[self.pool.rows]))
                if lacking > 0:
                    queries.append(self._rest(mask, lacking))
        return queries

    def further_queries(self, asked: Sequence[Query], rankings: Sequence[Ranking]) -> list[Query]:
        """Return what to ask the same rung after it answered: nothing when it has nothing more that fits.

        First what diversity lacks, which stands beside what the rung named before; then what is missing.
        """
        apart = self._apart() if self._added else None
        answered = self._added or self._joined
        self._joined = apart is not None
        if apart is not None:
            self._spreads += 1
            return [self._rest(apart, self.query.limit)]
        if not self.missing or not answered:
            return []
        still_open = self.arranged.open
        if still_open is None:
            exhausted = any(
                query.eligible.mask is self.query.eligible.mask and len(ranking) < query.limit
                for query, ranking in zip(asked, rankings, strict=True)
            )
            return [] if exhausted else [self._rest(self.query.eligible.mask, self.missing)]
        return [self._rest(self.query.eligible.mask & still_open, self.query.limit)]

    def add(self, rung: int, rankings: list[Ranking]) -> None:
        """Take in what a rung answered, and arrange the page anew."""
        self._added = self.pool.add(rung, rankings, joined=self._joined)
        self._arrange()

    def items(self, rungs: Sequence[Rung]) -> tuple[RecommendedItem, ...]:
        """Return the items of the page, best first."""
        # An item that was to be pinned and is not was nobody's choice.
        shown = ~self._strays()
        ids = self.context.view.vocabulary.ids
        pool = self.pool
        return tuple(
            RecommendedItem(
                row=int(pool.rows[place]),
                item_id=ids[pool.rows[place]],
                score=0.0 if pinned else float(pool.scores[place]),
                strategy="" if pinned else rungs[pool.rungs[place]].strategy,
                bundles=() if pinned else rungs[pool.rungs[place]].bundles,
                rung=0 if pinned else int(pool.rungs[place]),
                reasons=() if pinned else pool.reasons[place],
                pinned=bool(pinned),
            )
            for place, pinned in zip(self.arranged.order[shown], self.arranged.pinned[shown], strict=True)
        )

    def rung_outcomes(self) -> tuple[RungOutcome, ...]:
        """Return what each rung did."""
        chosen = self.pool.rungs[self.arranged.order[~self.arranged.pinned]]
        used = np.bincount(chosen[chosen != PINNED], minlength=len(self.records))
        return tuple(
            RungOutcome(
                strategy=record.strategy,
                wanted=record.wanted,
                ranked=record.ranked,
                used=int(used[index]),
                dropped=tuple(record.dropped),
                failure=record.failure,
                skipped=record.skipped,
                detail=record.detail,
                milliseconds=record.milliseconds,
            )
            for index, record in enumerate(self.records)
        )

    def _arrange(self) -> None:
        rounds = np.where(self.pool.rungs == PINNED, PINNED, self.pool.rounds)
        self.arranged = self.rules.arrange(
            Candidates(self.pool.rows, self.pool.scores, rounds.astype(np.int32)), self.context
        )

    def _strays(self) -> NDArray[np.bool_]:
        """Say of each place whether it holds an item that was to be pinned elsewhere, and is not."""
        strays: NDArray[np.bool_] = self.pool.rungs[self.arranged.order] == PINNED
        return strays & ~self.arranged.pinned

    @cached_property
    def _allowed(self) -> Rows:
        """The rows that may be shown."""
        rows = self.query.candidates
        if rows is None:
            rows = np.flatnonzero(self.query.eligible.mask).astype(np.int32)
        return rows[self.query.eligible.allows(rows)]

    def _preferred(self, limit: int) -> list[Query]:
        """Return how to ask for what rules prefer, where so many of the best need not hold enough."""
        queries = []
        if self.rules.rearranges and len(self._allowed) > limit:
            for mask in self.rules.preferred(self.context, self._allowed):
                others = len(self._allowed) - int(np.count_nonzero(mask[self._allowed]))
                lacking = self.query.limit + 1 - int(np.count_nonzero(mask[self.pool.rows]))
                if lacking > 0 and others + lacking > limit:
                    queries.append(self._rest(self.query.eligible.mask & mask, lacking))
        return queries

    def _apart(self) -> NDArray[np.bool_] | None:
        """Return the rows that diversity lacks among what the rung last asked named; None for none."""
        crowded = self.arranged.crowded
        if crowded is None or self._spreads == _MOST_SPREADS:
            return None
        rounds = self.pool.rounds[self.arranged.order]
        if crowded.place is not None and rounds[crowded.place] != self.pool.rounds[-1]:
            return None  # a rung above named what stands there, and stands above
        apart = self.query.eligible.mask & crowded.apart
        apart[self.query.eligible.excluded] = False
        apart[self.pool.rows] = False
        apart[self.context.view.with_variants(self.pool.rows[self.arranged.order])] = False
        return apart if apart.any() else None

    def _rest(self, mask: NDArray[np.bool_], limit: int) -> Query:
        known = np.concatenate([self.query.eligible.excluded, self.pool.rows])
        return replace(self.query, limit=limit, eligible=Eligibility(mask, known))

"""Candidate generation: the items of one answer, as the rungs of a ladder name them when they are asked."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import NO_ROWS, CatalogView, Eligibility, Query, Ranking, Reason, Rows, Scores
from endcap.sdk.errors import DeadlineExceeded
from endcap.server.recommending.answer import RungOutcome
from endcap.server.reranking import RerankContext, Rules
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.checks import CheckedRanking
from endcap.server.serving.failures import Failure, RungFailed
from endcap.server.serving.ladders import Rung


_PAGES = 5  # asked for where rules re-rank, or where variants of a product may take one another's place
_LEAST = 100
_NO_RUNG = np.iinfo(np.int32).max  # of pinned items; a tier above all others, as only pins place them


class Candidates:
    """Distinct rows, in the order in which they were asked for and then of their scores."""

    def __init__(self, query: Query, rules: Rules, context: RerankContext) -> None:
        """Begin with the items that rules pin by their id: no strategy has to name them.

        Args:
            query: The question; its limit is the size of the page.
            rules: The rules in force.
            context: The circumstances that the page is made for.
        """
        self.query = query
        self.rows: Rows = NO_ROWS
        self.scores: Scores = np.empty(0, np.float32)
        self.reasons: list[tuple[Reason, ...]] = []

        self.rungs: Rows = NO_ROWS
        """The rung that named each row."""

        self.tiers: Rows = NO_ROWS
        """The tier of each row; items of a lower tier rank before all items of a higher one."""

        self._groups = context.view.groups
        self._fetches_more = rules.reranks or context.view.has_groups
        self._required = rules.required(context, self.allowed()) if rules.reranks else []
        pinned = rules.pinned_ids(query.limit) if rules.reranks and context.first_page else []
        if pinned:
            self._add_pinned(pinned, context)

    @property
    def missing(self) -> int:
        """How many more products a page needs."""
        return self.query.limit - len(np.unique(self._groups[self.rows]))

    def allowed(self) -> NDArray[np.bool_]:
        """Return the rows of the view that may be shown."""
        allowed = self.query.eligible.mask.copy()
        if self.query.candidates is not None:
            allowed[:] = False
            allowed[self.query.candidates] = self.query.eligible.mask[self.query.candidates]
        allowed[self.query.eligible.excluded] = False
        return allowed

    def queries(self) -> list[Query]:
        """Return the queries to the next rung: its best items while some are missing, and required ones."""
        mask, missing = self.query.eligible.mask, self.missing
        limit = max(_PAGES * self.query.limit, _LEAST) if self._fetches_more else missing
        queries = [self.rest(mask, limit)] if missing > 0 else []
        for required in self._required:
            lacking = required.count - int(np.count_nonzero(required.rows[self.rows]))
            # Where few others may be shown, the best hold enough, however they are ranked.
            suffices = missing > 0 and required.others + lacking <= limit
            if lacking > 0 and not suffices and (missing > 0 or required.is_hard):
                queries.append(self.rest(mask & required.rows, lacking))
        return queries

    def rest(self, mask: NDArray[np.bool_], limit: int) -> Query:
        """Return a query for so many of the rows of a mask that are no candidates yet."""
        known = np.concatenate([self.query.eligible.excluded, self.rows])
        return replace(self.query, limit=limit, eligible=Eligibility(mask, known))

    def add(self, rankings: Sequence[Ranking], *, rung: int, tier: int) -> None:
        """Take in what one rung answered at the same time; a row that is known keeps the place it has."""
        if not rankings:
            return
        known = len(self.rows)
        named = np.concatenate([ranking.rows for ranking in rankings])
        first = np.sort(np.unique(np.concatenate([self.rows, named]), return_index=True)[1])
        new = first[first >= known] - known
        scores = np.concatenate([ranking.scores for ranking in rankings])
        new = new[np.argsort(-scores[new], kind="stable")]
        reasons = [reason for ranking in rankings for reason in ranking.reasons or ((),) * len(ranking)]
        self.rows = np.concatenate([self.rows, named[new]])
        self.scores = np.concatenate([self.scores, scores[new]])
        self.rungs = np.concatenate([self.rungs, np.full(len(new), rung, np.int32)])
        self.tiers = np.concatenate([self.tiers, np.full(len(new), tier, np.int32)])
        self.reasons += [reasons[place] for place in new]

    def _add_pinned(self, pins: Sequence[tuple[int, str]], context: RerankContext) -> None:
        """Add the pinned items: for each place and each product the first one that may be shown."""
        vocabulary, allowed = context.view.vocabulary, self.allowed()
        places: set[int] = set()
        row_of_group: dict[int, int] = {}
        for place, item_id in pins:
            row = vocabulary.row(item_id)
            if row < 0 or not allowed[row] or place in places:
                continue
            if row_of_group.setdefault(int(self._groups[row]), row) == row:
                places.add(place)
        rows = np.array([*row_of_group.values()], np.int32)
        if len(rows):
            pinned = Ranking(rows, np.zeros(len(rows), np.float32))
            self.add([pinned], rung=_NO_RUNG, tier=_NO_RUNG)


@dataclass(frozen=True, slots=True, eq=False)
class CandidateGenerator:
    """Asks the rungs of a ladder for candidates, within the time that an answer has."""

    rungs: Sequence[Rung]
    view: CatalogView

    rung_timeout: float
    """Seconds that a run of one rung may take, unless its placement says otherwise."""

    deadline: float
    """The time at which the answer must be there, on the clock."""

    clock: Callable[[], float]

    outcomes: list[RungOutcome] = field(default_factory=list)
    """The outcomes of the rungs that were asked, from the best down."""

    async def generate(self, candidates: Candidates) -> None:
        """Ask each rung, from the best down, while candidates are missing or rules require some.

        Raises:
            DeadlineExceeded: The deadline passed before any rung named an item.
        """
        for index, rung in enumerate(self.rungs):
            if queries := candidates.queries():
                self.outcomes.append(RungOutcome(rung.strategy, wanted=candidates.missing))
                candidates.add(await self._ask_rung(index, queries), rung=index, tier=index)
        is_late = self.clock() >= self.deadline and any(outcome.failure for outcome in self.outcomes)
        if is_late and not len(candidates.rows):
            raise DeadlineExceeded("the deadline passed before an answer was found: allow more time")

    async def top_up(self, candidates: Candidates, index: int, query: Query, *, missing: int) -> None:
        """Ask one rung once more; its items rank behind all items named before.

        Args:
            candidates: The candidates of the answer.
            index: The place of the rung in the ladder.
            query: The question.
            missing: How many items the page lacks.
        """
        if index == len(self.outcomes):
            self.outcomes.append(RungOutcome(self.rungs[index].strategy, wanted=missing))
        elif self.outcomes[index].failure or self.outcomes[index].skipped:
            return
        rankings = await self._ask_rung(index, [query])
        candidates.add(rankings, rung=index, tier=len(self.rungs) + index)

    async def _ask_rung(self, index: int, queries: Sequence[Query]) -> list[Ranking]:
        """Ask one rung some queries at once, and count what it did; a rung that fails ranks nothing."""
        rung, outcome = self.rungs[index], self.outcomes[index]
        if rung.batcher is None:
            outcome.skipped, outcome.failure, outcome.detail = rung.failure is None, rung.failure, rung.detail
            return []
        started = self.clock()
        try:
            answers = await self._ask(rung, rung.batcher, queries)
        except RungFailed as error:
            answers = []
            outcome.failure, outcome.detail = error.failure, str(error)
        outcome.milliseconds += (self.clock() - started) * 1000
        for answer in answers:
            outcome.count(answer.ranked, answer.dropped)
        return [answer.ranking for answer in answers]

    async def _ask(self, rung: Rung, batcher: Batcher, queries: Sequence[Query]) -> list[CheckedRanking]:
        limit, time_left = rung.timeout or self.rung_timeout, self.deadline - self.clock()
        if time_left <= 0:
            raise RungFailed(Failure.TIMED_OUT, "no time was left to ask it")
        return await asyncio.gather(*(batcher.ask(query, self.view, limit, time_left) for query in queries))

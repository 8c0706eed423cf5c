"""The life of a request: what is asked, the ladder of strategies until the page is full, the rules."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from endcap.sdk import NO_ROWS, CatalogView, History, Query, Ranking, Task
from endcap.sdk.errors import DeadlineExceeded
from endcap.server.recommending.answer import RecommendationAnswer, RungOutcome
from endcap.server.recommending.candidates import Candidates
from endcap.server.recommending.conditions import Conditions
from endcap.server.recommending.eligibility import build_query
from endcap.server.recommending.lookups import Exposures, Lookups
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.recommending.slate import Slate, rerank
from endcap.server.reranking import RerankContext, Rules
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.checks import CheckedRanking
from endcap.server.serving.failures import Failure, RungFailed
from endcap.server.serving.ladders import Ladder, Rung
from endcap.server.serving.state import ServedShop, ShopState


MAX_SHOWN = 1_000
"""Items that all pages of one answer show at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Answers requests. It keeps no state of its own."""

    lookups: Lookups

    rung_timeout: float
    """Seconds that one rung gets, unless its placement says otherwise."""

    observe_rung: Callable[[str, str, Iterable[tuple[str, int]]], None]
    """Called for every rung that was asked, with its strategy, its failure or "", and the numbers of items
    that it must not have returned, by cause."""

    clock: Callable[[], float] = time.monotonic

    def validate(self, request: RecommendationRequest, state: ShopState) -> Ladder:
        """Check that a request can be answered, and return its placement's ladder.

        Raises:
            NotFound: The placement does not exist.
            InvalidInput: The request lacks what the placement's task needs.
        """
        ladder = state.ladder(request.placement)
        request.check(ladder.task)
        return ladder

    async def recommend(
        self, request: RecommendationRequest, shop: ServedShop, state: ShopState, deadline: float
    ) -> RecommendationAnswer:
        """Answer one request.

        A strategy, a model or a database that fails costs its part of the answer and nothing else.

        Args:
            request: The question, checked.
            shop: Whose writes count.
            state: The view, the models and the placements that the whole answer is made from.
            deadline: When the answer must be there, on the pipeline's clock.

        Raises:
            NotFound: The placement does not exist.
            InvalidInput: The request lacks what the placement's task needs.
            Exhausted: Too many new filters are being worked out.
            DeadlineExceeded: No time is left to ask a strategy, or to work out a filter.
        """
        person = (request.user_id or None, request.visitor_id or None)
        ladder = state.ladder(request.placement)
        history = state.history(*person)
        seen = NO_ROWS
        if ladder.exclude_seen:
            since = 0 if ladder.seen_window is None else request.time - ladder.seen_window
            seen = state.seen(*person, types=ladder.seen_types, since=since)
        request.check(ladder.task)
        rules = ladder.rules.at(request.time)
        limit = min(request.page_size or ladder.page_size, MAX_SHOWN - len(request.shown))
        conditions = Conditions.of(request, ladder, rules)
        await state.masks.prepare([*conditions.filters, *rules.conditions], seconds=deadline - self.clock())
        eligible = state.masks.eligible(conditions.filters)
        masks = {condition.text: state.masks.of(condition) for condition in rules.conditions}
        matches = None
        if ladder.task is Task.SEARCH:
            matches = await self.lookups.matches(
                shop.id, state.view, request.text, allowed=eligible.mask, deadline=deadline
            )
        asked = build_query(
            request,
            state.view,
            ladder,
            history=history,
            seen=seen,
            expired=state.stock.expired(request.time),
            conditions=conditions,
            masks=state.masks,
            eligible=eligible,
            matches=matches,
            limit=limit,
        )
        exposures = Exposures()
        if rules.needs_exposures:
            exposures = await self._exposures(
                request,
                shop=shop.id,
                view=state.view,
                history=history,
                window=rules.needs_exposures,
                deadline=deadline,
            )
        context = RerankContext(
            state.view,
            limit,
            first_page=not request.shown,
            masks=masks,
            time=request.time,
            exposures=exposures.shown,
        )
        slate, rungs = await self._fill(asked.query, ladder.rungs, rules, context, deadline)
        failures = []
        if request.minimum_revision and shop.revision < request.minimum_revision:
            failures.append(Failure.STALE)
        if exposures.failed or (matches is not None and matches.failed):
            failures.append(Failure.STORE_UNAVAILABLE)
        return RecommendationAnswer(
            items=slate.items(ladder.rungs),
            missing_item_ids=asked.missing_item_ids,
            dropped=asked.dropped,
            rungs=rungs,
            removed=asked.removed,
            rules=(*conditions.outcomes(eligible), *slate.reranked.outcomes) if request.trace else (),
            eligible=asked.left,
            has_more=(slate.keeps_out() or (not slate.missing and asked.left > limit))
            and len(request.shown) + limit < MAX_SHOWN,
            candidates=slate.candidates.rows,
            history=len(asked.query.history),
            failures=tuple(failures),
        )

    async def _exposures(
        self,
        request: RecommendationRequest,
        *,
        shop: str,
        view: CatalogView,
        history: History,
        window: int,
        deadline: float,
    ) -> Exposures:
        """Return what the user was shown and did not act on, within some milliseconds."""
        since = request.time - window
        exposures = await self.lookups.exposures(
            shop,
            view.vocabulary,
            user_id=request.user_id,
            visitor_id=request.visitor_id,
            since=since,
            deadline=deadline,
        )
        return exposures.without(set(history.rows[history.times >= since].tolist()))

    async def _fill(
        self, query: Query, rungs: Sequence[Rung], rules: Rules, context: RerankContext, deadline: float
    ) -> tuple[Slate, tuple[RungOutcome, ...]]:
        """Gather candidates from the best rung down, re-rank them, and top up what caps or variants starve.

        What a rung is asked for once more stands behind all that was named before.
        """
        candidates = Candidates(query, rules, context)
        outcomes: list[RungOutcome] = []
        for index, rung in enumerate(rungs):
            if queries := candidates.queries():
                outcomes.append(RungOutcome(rung.strategy, wanted=candidates.missing))
                rankings = await self._ask_rung(rung, queries, context.view, outcomes[-1], deadline)
                candidates.add(rankings, rung=index, tier=index)
        if self.clock() >= deadline and not len(candidates.rows) and any(each.failure for each in outcomes):
            raise DeadlineExceeded("the deadline passed before an answer was found: allow more time")
        # Here the candidates are fixed: whatever is drawn at random is drawn from these.
        slate = await rerank(candidates, rules, context)
        for index, rung in enumerate(rungs):
            further = slate.top_up()
            if further is None:
                break
            if index == len(outcomes):
                outcomes.append(RungOutcome(rung.strategy, wanted=slate.missing))
            elif outcomes[index].failure or outcomes[index].skipped:
                continue
            rankings = await self._ask_rung(rung, [further], context.view, outcomes[index], deadline)
            candidates.add(rankings, rung=index, tier=len(rungs) + index)
            slate = await rerank(candidates, rules, context)
        for outcome, used in zip(outcomes, slate.used(len(outcomes)).tolist(), strict=True):
            outcome.used = used
            dropped = [(each.cause, len(each.rows)) for each in outcome.dropped]
            self.observe_rung(outcome.strategy, outcome.failure or "", dropped)
        return slate, tuple(outcomes)

    async def _ask_rung(
        self,
        rung: Rung,
        queries: Sequence[Query],
        view: CatalogView,
        outcome: RungOutcome,
        deadline: float,
    ) -> list[Ranking]:
        """Ask one rung some queries at once, and count what it did; a rung that fails ranks nothing."""
        if rung.batcher is None:
            outcome.skipped, outcome.failure, outcome.detail = rung.failure is None, rung.failure, rung.detail
            return []
        started = self.clock()
        try:
            answers = await self._ask(rung, rung.batcher, queries, view, deadline)
        except RungFailed as error:
            answers = []
            outcome.failure, outcome.detail = error.failure, str(error)
        outcome.milliseconds += (self.clock() - started) * 1000
        for answer in answers:
            outcome.count(answer.ranked, answer.dropped)
        return [answer.ranking for answer in answers]

    async def _ask(
        self, rung: Rung, batcher: Batcher, queries: Sequence[Query], view: CatalogView, deadline: float
    ) -> list[CheckedRanking]:
        limit, time_left = rung.timeout or self.rung_timeout, deadline - self.clock()
        if time_left <= 0:
            raise RungFailed(Failure.TIMED_OUT, "no time was left to ask it")
        return await asyncio.gather(*(batcher.ask(query, view, limit, time_left) for query in queries))

"""The life of a request: what is asked, the ladder of strategies until the page is full, the rules."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from endcap.sdk import CatalogView, Query, Task
from endcap.sdk.errors import DeadlineExceeded
from endcap.server.answer import RecommendationAnswer, RungOutcome
from endcap.server.batcher import CheckedRanking
from endcap.server.conditions import Conditions
from endcap.server.eligibility import ask
from endcap.server.failures import Failure, RungFailed
from endcap.server.ladders import Ladder, Rung
from endcap.server.lookups import Exposures, Lookups
from endcap.server.masks import Eligible
from endcap.server.page import Page
from endcap.server.request import RecommendationRequest
from endcap.server.rules import Context, Rules
from endcap.server.shops import Shop, ShopState


MAX_SHOWN = 1_000
"""Items that all pages of one answer show at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Answers requests. It keeps no state of its own."""

    lookups: Lookups

    rung_timeout: float
    """Seconds that one rung gets, unless its placement says otherwise."""

    observe_rung: Callable[[RungOutcome], None]
    """Told of every rung that was asked."""

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
        self, request: RecommendationRequest, shop: Shop, state: ShopState, deadline: float
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
        ladder = self.validate(request, state)
        rules = ladder.rules.at(request.time)
        limit = min(request.page_size or ladder.page_size, MAX_SHOWN - len(request.shown))
        conditions = Conditions.of(request, ladder, rules)
        eligible = await self._eligible(conditions, rules, state, deadline)
        matches = None
        if ladder.task is Task.SEARCH:
            matches = await self.lookups.matches(
                shop.id, state.view, request.text, allowed=eligible.mask, deadline=deadline
            )
        asked = ask(
            request, state, ladder, conditions=conditions, eligible=eligible, matches=matches, limit=limit
        )
        exposures = await self._exposures(request, rules, shop.id, state, deadline)
        page = _empty_page(
            request, asked.query, state, rules=rules, conditions=conditions, exposures=exposures
        )
        await self._fill(page, ladder.rungs, deadline)
        return RecommendationAnswer(
            items=page.items(ladder.rungs),
            missing_item_ids=asked.missing_item_ids,
            rungs=page.rung_outcomes(),
            removed=asked.removed,
            rules=(*conditions.outcomes(eligible), *page.arranged.outcomes) if request.trace else (),
            eligible=asked.left,
            has_more=(page.capped or (not page.missing and asked.left > limit))
            and len(request.shown) + limit < MAX_SHOWN,
            candidates=page.pool.rows,
            history=len(asked.query.history),
            failures=_failures(
                stale=shop.revision < request.minimum_revision,
                unread=exposures.failed or (matches is not None and matches.failed),
            ),
        )

    async def _eligible(
        self, conditions: Conditions, rules: Rules, state: ShopState, deadline: float
    ) -> Eligible:
        """Return what the conditions let through, with the masks at hand that the rules will ask for."""
        await state.masks.prepare([*conditions.filters, *rules.conditions], seconds=deadline - self.clock())
        return state.masks.eligible(conditions.filters)

    async def _exposures(
        self, request: RecommendationRequest, rules: Rules, shop: str, state: ShopState, deadline: float
    ) -> Exposures:
        """Return what the user was shown and did not act on, as far back as rules look."""
        if not rules.needs_exposures:
            return Exposures()
        since = request.time - rules.needs_exposures
        history = state.history(request.user_id or None, request.visitor_id or None)
        acted_on = set(history.rows[history.times >= since].tolist())
        exposures = await self.lookups.exposures(
            shop,
            state.view.vocabulary,
            user_id=request.user_id,
            visitor_id=request.visitor_id,
            since=since,
            deadline=deadline,
        )
        return exposures.without(acted_on)

    async def _fill(self, page: Page, rungs: Sequence[Rung], deadline: float) -> None:
        """Ask the rungs from the best down, each for what the page and its rules still lack."""
        for index, rung in enumerate(rungs):
            if queries := page.first_queries():
                await self._climb(page, index, rung, queries, deadline)
        for outcome in page.rung_outcomes():
            self.observe_rung(outcome)

    async def _climb(
        self, page: Page, index: int, rung: Rung, queries: Sequence[Query], deadline: float
    ) -> None:
        """Ask one rung until the page is full or the rung has nothing more that fits."""
        record = page.begin(rung.strategy)
        started = self.clock()
        try:
            while queries:
                answers = await self._ask(rung, queries, page.context.view, deadline)
                record.take_in(answers)
                rankings = [answer.ranking for answer in answers]
                page.add(index, rankings)
                queries = page.further_queries(queries, rankings)
        except RungFailed as error:
            if self.clock() >= deadline and not len(page.pool):
                raise DeadlineExceeded(
                    "the deadline passed before an answer was found: allow more time"
                ) from error
            record.failure, record.detail = error.failure, str(error)
        record.milliseconds = (self.clock() - started) * 1000

    async def _ask(
        self, rung: Rung, queries: Sequence[Query], view: CatalogView, deadline: float
    ) -> list[CheckedRanking]:
        if rung.batcher is None:
            raise RungFailed(rung.failure, rung.detail)
        seconds = min(rung.timeout or self.rung_timeout, deadline - self.clock())
        if seconds <= 0:
            raise RungFailed(Failure.TIMED_OUT, "no time was left to ask it")
        return await asyncio.gather(*(rung.batcher.ask(query, view, seconds) for query in queries))


def _empty_page(
    request: RecommendationRequest,
    query: Query,
    state: ShopState,
    *,
    rules: Rules,
    conditions: Conditions,
    exposures: Exposures,
) -> Page:
    """Return the page before any rung is asked."""
    context = Context(
        view=state.view,
        page_size=query.limit,
        first_page=not request.shown,
        mask=state.masks.of,
        exposures=lambda window: exposures.since(request.time - window),
    )
    return Page(
        query,
        rules,
        context,
        narrowed=lambda condition: state.masks.eligible([*conditions.filters, condition]).mask,
    )


def _failures(*, stale: bool, unread: bool) -> tuple[Failure, ...]:
    """Return what failed that belongs to no rung."""
    failed = {Failure.STALE: stale, Failure.STORE_UNAVAILABLE: unread}
    return tuple(failure for failure, happened in failed.items() if happened)

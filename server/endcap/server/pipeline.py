"""The life of a request: what is asked, the ladder of strategies until the page is full, the rules."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from endcap.sdk import CatalogView, Query, Task
from endcap.sdk.errors import DeadlineExceeded
from endcap.server.answer import RecommendationAnswer, RungOutcome
from endcap.server.batcher import CheckedRanking
from endcap.server.eligibility import ask
from endcap.server.failures import Failure, RungFailed
from endcap.server.ladders import Ladder, Rung
from endcap.server.lookups import Exposures, Lookups
from endcap.server.page import Page
from endcap.server.request import RecommendationRequest
from endcap.server.rules import Context, RuleOutcome, Rules
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
            DeadlineExceeded: No time is left to ask a strategy.
        """
        ladder = self.validate(request, state)
        rules = ladder.rules.at(request.time)
        limit = min(request.page_size or ladder.page_size, MAX_SHOWN - len(request.shown))
        own = {"placement": ladder.filter, "request": request.filter}
        named = {name: condition for name, condition in own.items() if condition is not None}
        conditions = [*named.values(), *(each.filter for each in rules.filters)]
        await state.masks.prepare(
            [*conditions, *(want.filter for want in rules.wants(limit) if want.filter is not None)]
        )
        eligible = state.masks.eligible(conditions)
        matches = None
        if ladder.task is Task.SEARCH:
            matches = await self.lookups.matches(shop.id, state.view, request.text, deadline)
        asked = ask(request, state, ladder, eligible=eligible, matches=matches, limit=limit)
        exposures = Exposures()
        if rules.needs_exposures:
            since = request.time - rules.needs_exposures
            exposures = await self._exposures(request, state, shop=shop.id, since=since, deadline=deadline)
        page = Page(
            asked.query,
            rules,
            Context(
                view=state.view,
                page_size=limit,
                first_page=not request.shown,
                mask=state.masks.of,
                exposures=lambda window: exposures.since(request.time - window),
            ),
            narrowed=lambda condition: state.masks.eligible([*conditions, condition]).mask,
        )
        for index, rung in enumerate(ladder.rungs):
            if queries := page.first_queries():
                await self._climb(page, index, rung, queries, deadline)
        outcomes = page.rung_outcomes()
        for outcome in outcomes:
            self.observe_rung(outcome)
        removed = {"available": len(state.view) - int(np.count_nonzero(state.view.available))}
        removed |= dict(zip(named, eligible.removed, strict=False)) | asked.removed
        left = eligible.count - sum(asked.removed.values())
        stale = shop.revision < request.minimum_revision
        unread = exposures.failed or (matches is not None and matches.failed)
        return RecommendationAnswer(
            items=page.items(ladder.rungs),
            missing_item_ids=asked.missing_item_ids,
            rungs=outcomes,
            removed=removed,
            rules=_outcomes(rules, eligible.removed[len(named) :], page) if request.trace else (),
            eligible=left,
            has_more=not page.missing and left > limit and len(request.shown) + limit < MAX_SHOWN,
            history=len(asked.query.history),
            failures=(
                *((Failure.STALE,) if stale else ()),
                *((Failure.STORE_UNAVAILABLE,) if unread else ()),
            ),
        )

    async def _exposures(
        self, request: RecommendationRequest, state: ShopState, *, shop: str, since: int, deadline: float
    ) -> Exposures:
        """Return what the user was shown since a time and did not act on."""
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
                added = page.add(index, rankings)
                queries = page.further_queries(queries, rankings) if added else []
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


def _outcomes(rules: Rules, removed: Sequence[int], page: Page) -> tuple[RuleOutcome, ...]:
    """Return what each rule did: first the filters, then those that rearranged the page."""
    filtered = [
        RuleOutcome(each.name, count, f"left out {count} items")
        for each, count in zip(rules.filters, removed, strict=True)
    ]
    return (*filtered, *page.arranged.outcomes)

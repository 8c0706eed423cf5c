"""The life of a request: the query, the ladder of strategies until the page is full, the rules."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from endcap.sdk import NO_ROWS, Task
from endcap.server.recommending.answer import RecommendationAnswer
from endcap.server.recommending.candidates import CandidateGenerator, Candidates
from endcap.server.recommending.conditions import Conditions
from endcap.server.recommending.eligibility import build_query
from endcap.server.recommending.lookups import Exposures, Lookups
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.recommending.slate import fill_slate
from endcap.server.reranking import RerankContext
from endcap.server.serving.failures import Failure
from endcap.server.serving.ladders import Ladder
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
        request.check(ladder.placement.task)
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
        placement = ladder.placement
        history = state.history(*person)
        seen = NO_ROWS
        if placement.exclude_seen:
            since = 0 if placement.seen_window is None else request.time - placement.seen_window
            seen = state.seen(*person, types=placement.seen_types, since=since)
        request.check(placement.task)
        rules = ladder.rules.at(request.time)
        limit = min(request.page_size or placement.page_size, MAX_SHOWN - len(request.shown))
        conditions = Conditions.of(request, ladder, rules)
        await state.masks.prepare([*conditions.filters, *rules.conditions], seconds=deadline - self.clock())
        eligible = state.masks.eligible(conditions.filters)
        masks = {condition.text: state.masks.of(condition) for condition in rules.conditions}
        matches = None
        if placement.task is Task.SEARCH:
            matches = await self.lookups.matches(
                shop.id, state.view, request.text, allowed=eligible.mask, deadline=deadline
            )
        asked = build_query(
            request,
            state.view,
            placement,
            history=history,
            seen=seen,
            expired=state.timed_view.expired(request.time),
            conditions=conditions,
            masks=state.masks,
            eligible=eligible,
            matches=matches,
            limit=limit,
        )
        exposures = Exposures()
        if rules.needs_exposures:
            exposures = await self.lookups.exposures(
                shop.id,
                state.view.vocabulary,
                user_id=request.user_id,
                visitor_id=request.visitor_id,
                since=request.time - rules.needs_exposures,
                deadline=deadline,
            )
        acted_on = set(history.rows[history.times >= request.time - rules.needs_exposures].tolist())
        context = RerankContext(
            state.view,
            limit,
            first_page=not request.shown,
            masks=masks,
            time=request.time,
            exposures=[(time, row) for time, row in exposures.shown if row not in acted_on],
        )
        candidates = Candidates(asked.query, rules, context)
        generator = CandidateGenerator(ladder.rungs, state.view, self.rung_timeout, deadline, self.clock)
        await generator.generate(candidates)
        slate = await fill_slate(candidates, generator, rules, context)
        for outcome in generator.outcomes:
            dropped = [(each.cause, len(each.rows)) for each in outcome.dropped]
            self.observe_rung(outcome.strategy, outcome.failure or "", dropped)
        failures = []
        if request.minimum_revision and shop.revision < request.minimum_revision:
            failures.append(Failure.STALE)
        if exposures.failed or (matches is not None and matches.failed):
            failures.append(Failure.STORE_UNAVAILABLE)
        return RecommendationAnswer(
            items=slate.items(ladder.rungs),
            missing_item_ids=asked.missing_item_ids,
            dropped=asked.dropped,
            rungs=tuple(generator.outcomes),
            removed=asked.removed,
            rules=(*conditions.outcomes(eligible), *slate.reranked.outcomes) if request.trace else (),
            eligible=asked.left,
            has_more=(slate.keeps_out() or (not slate.missing and asked.left > limit))
            and len(request.shown) + limit < MAX_SHOWN,
            candidates=candidates.rows,
            configuration=placement.revision,
            history=len(asked.query.history),
            failures=tuple(failures),
        )

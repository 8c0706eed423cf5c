"""The life of a query: eligibility, then the ladder of strategies until the list is full."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import NO_RANKING, NO_ROWS, CatalogView, Eligibility, Query, Ranking, Rows, Task
from endcap.sdk.errors import DeadlineExceeded, InvalidInput
from endcap.server.eligibility import SHOWS_SEEN, Exclusions, eligibility
from endcap.server.request import (
    DroppedItem,
    Failure,
    RecommendationAnswer,
    RecommendationRequest,
    RecommendedItem,
    RungFailed,
    RungOutcome,
)
from endcap.server.shops import Ladder, Rung, Shop, ShopState


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Answers requests. It keeps no state of its own."""

    rung_timeout: float
    """Seconds that one rung gets."""

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
        _check(request, ladder.task)
        return ladder

    async def recommend(
        self, request: RecommendationRequest, shop: Shop, state: ShopState, deadline: float
    ) -> RecommendationAnswer:
        """Answer one request.

        A strategy that fails costs its rung and nothing else.

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
        query, removed, missing = _query(request, state, ladder)
        items: list[RecommendedItem] = []
        outcomes: list[RungOutcome] = []
        for index, rung in enumerate(ladder.rungs):
            if len(items) == query.limit:
                break
            rest = replace(query, limit=query.limit - len(items), eligible=_without(query.eligible, items))
            ranking, outcome = await self._ask(rung, rest, state.view, deadline)
            items += _items(ranking, rung, index, state.view)
            outcomes.append(outcome)
            self.observe_rung(outcome)
        return RecommendationAnswer(
            items=tuple(items),
            missing_item_ids=missing,
            rungs=tuple(outcomes),
            removed=removed,
            eligible=len(state.view) - sum(removed.values()),
            history=len(query.history),
            stale=shop.revision < request.minimum_revision,
        )

    async def _ask(
        self, rung: Rung, query: Query, view: CatalogView, deadline: float
    ) -> tuple[Ranking, RungOutcome]:
        started = self.clock()
        if started >= deadline:
            raise DeadlineExceeded("the deadline passed before an answer was found: allow more time")
        ranking, ranked = NO_RANKING, 0
        dropped: tuple[DroppedItem, ...] = ()
        failure: Failure | None = None
        detail = ""
        try:
            answer = await rung.ask(query, view, min(self.rung_timeout, deadline - started))
            ranked = len(answer)
            ranking, dropped = sanitised(answer, query)
            if dropped:
                failure, detail = Failure.INVALID_RANKING, f"{len(dropped)} items were not allowed"
        except RungFailed as error:
            failure, detail = error.failure, str(error)
        return ranking, RungOutcome(
            strategy=rung.strategy,
            wanted=query.limit,
            ranked=ranked,
            used=len(ranking),
            dropped=dropped,
            failure=failure,
            detail=detail,
            milliseconds=(self.clock() - started) * 1000,
        )


def sanitised(ranking: Ranking, query: Query) -> tuple[Ranking, tuple[DroppedItem, ...]]:
    """Drop what a strategy must not have returned, whatever the plugin did.

    Returns:
        The ranking without foreign, ineligible and repeated rows and without scores that are no
        numbers, cut to the limit; and the items that were dropped.
    """
    rows, scores = np.asarray(ranking.rows), np.asarray(ranking.scores)
    if (
        rows.ndim != 1
        or rows.shape != scores.shape
        or rows.dtype.kind not in "iu"
        or scores.dtype.kind != "f"
    ):
        return NO_RANKING, (DroppedItem(-1, "malformed"),)
    dropped: list[DroppedItem] = []
    kept = np.arange(len(rows))

    def keep(allowed: NDArray[np.bool_], cause: str) -> None:
        nonlocal kept
        if not allowed.all():
            dropped.extend(DroppedItem(int(row), cause) for row in rows[kept[~allowed]])
            kept = kept[allowed]

    keep((rows >= 0) & (rows < len(query.eligible.mask)), "foreign")
    keep(np.isfinite(scores[kept]), "not_finite")
    keep(_first_occurrences(rows[kept]), "duplicate")
    keep(query.eligible.allows(rows[kept]), "ineligible")
    if query.candidates is not None:
        keep(np.isin(rows[kept], query.candidates), "ineligible")
    keep(np.arange(len(kept)) < query.limit, "capped")
    reasons = ranking.reasons if query.explain and len(ranking.reasons) == len(rows) else ()
    return (
        Ranking(
            rows[kept].astype(np.int32),
            scores[kept].astype(np.float32),
            tuple(reasons[position] for position in kept) if reasons else (),
        ),
        tuple(dropped),
    )


def _first_occurrences(rows: Rows) -> NDArray[np.bool_]:
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(rows, return_index=True)[1]] = True
    return first


def _check(request: RecommendationRequest, task: Task) -> None:
    if task in {Task.SIMILAR, Task.RELATED} and not request.item_ids:
        raise InvalidInput(f"the task {task} starts from items: send item_ids", field="item_ids")
    if task is Task.SEARCH and not request.text.strip():
        raise InvalidInput("the task search needs what the user typed: send query", field="query")
    if (task is Task.RANK) != bool(request.candidate_item_ids):
        raise InvalidInput(
            "candidate_item_ids are required for the task rank and refused for any other",
            field="candidate_item_ids",
        )


def _query(
    request: RecommendationRequest, state: ShopState, ladder: Ladder
) -> tuple[Query, dict[str, int], tuple[str, ...]]:
    view = state.view
    vocabulary = view.vocabulary
    person = (request.user_id or None, request.visitor_id or None)
    history = state.histories.of(*person)
    items = np.unique(vocabulary.known(request.item_ids))
    candidates: Rows | None = None
    if ladder.task is Task.RANK:
        candidates = vocabulary.known(request.candidate_item_ids)
    elif ladder.task is Task.RECENTLY_VIEWED:
        candidates = np.unique(history.of_type("view"))
    hides_seen = ladder.exclude_seen and ladder.task not in SHOWS_SEEN
    eligible, removed = eligibility(
        view,
        Exclusions(
            requested=vocabulary.known(request.exclude_item_ids),
            page=items,
            seen=state.histories.seen(*person, types=ladder.seen_types) if hides_seen else NO_ROWS,
        ),
    )
    query = Query(
        task=ladder.task,
        limit=request.page_size or ladder.page_size,
        time=request.time,
        eligible=eligible,
        history=history,
        items=items,
        candidates=candidates,
        text=request.text,
        context=request.context,
        explain=request.explain,
        seed=int.from_bytes(hashlib.sha256(request.request_id.encode()).digest()[:8]),
    )
    named = dict.fromkeys((*request.item_ids, *request.candidate_item_ids))
    return query, removed, tuple(item_id for item_id in named if item_id not in vocabulary)


def _without(eligible: Eligibility, items: list[RecommendedItem]) -> Eligibility:
    if not items:
        return eligible
    chosen = np.array([item.row for item in items], np.int32)
    return Eligibility(eligible.mask, np.concatenate([eligible.excluded, chosen]))


def _items(ranking: Ranking, rung: Rung, index: int, view: CatalogView) -> list[RecommendedItem]:
    return [
        RecommendedItem(
            row=int(row),
            item_id=view.vocabulary.ids[row],
            score=float(score),
            strategy=rung.strategy,
            bundles=rung.bundles,
            rung=index,
            reasons=ranking.reasons[position] if ranking.reasons else (),
        )
        for position, (row, score) in enumerate(zip(ranking.rows, ranking.scores, strict=True))
    ]

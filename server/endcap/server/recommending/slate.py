"""The page of one answer, as the rules make it of the candidates."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import Query
from endcap.server.recommending.answer import RecommendedItem
from endcap.server.recommending.candidates import CandidateGenerator, Candidates
from endcap.server.reranking import RerankContext, Reranked, Rules, ScoredCandidates
from endcap.server.serving.ladders import Rung


_TOP_UP = 1_000  # items that a rung is asked for where caps or variants starve a page


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """A page, the best item first."""

    candidates: Candidates
    context: RerankContext
    reranked: Reranked

    @property
    def missing(self) -> int:
        """The number of items that the page lacks."""
        return self.context.page_size - len(self.reranked.order)

    def top_up(self) -> Query | None:
        """Return the query of a top-up where caps or variants starve the page; None elsewhere."""
        still_open = self.reranked.open
        if not self.missing or still_open is None:
            return None
        return self.candidates.rest(self.candidates.query.eligible.mask & still_open, _TOP_UP)

    def keeps_out(self) -> bool:
        """Return whether the page is short of items that caps keep out: the next page counts anew."""
        if not self.missing or self.reranked.open is None or not len(self.reranked.order):
            return False
        left = self.candidates.allowed()
        left[self.context.view.with_variants(self.candidates.rows[self.reranked.order])] = False
        return bool(left.any())

    def items(self, rungs: Sequence[Rung]) -> tuple[RecommendedItem, ...]:
        """Return the items of the page."""
        ids = self.context.view.vocabulary.ids
        candidates = self.candidates
        return tuple(
            RecommendedItem(
                row=int(candidates.rows[place]),
                item_id=ids[candidates.rows[place]],
                score=0.0 if pinned else float(candidates.scores[place]),
                strategy="" if pinned else rungs[candidates.rungs[place]].strategy,
                bundles=() if pinned else rungs[candidates.rungs[place]].bundles,
                rung=0 if pinned else int(candidates.rungs[place]),
                reasons=() if pinned else candidates.reasons[place],
                pinned=bool(pinned),
            )
            for place, pinned in zip(self.reranked.order, self.reranked.pinned, strict=True)
        )

    def used(self, rung_count: int) -> NDArray[np.int64]:
        """Return for each rung how many items of the page it named; pinned items count for no rung."""
        named = self.candidates.rungs[self.reranked.order[~self.reranked.pinned]]
        return np.bincount(named, minlength=rung_count)


async def fill_slate(
    candidates: Candidates, generator: CandidateGenerator, rules: Rules, context: RerankContext
) -> Slate:
    """Make the page of the candidates, topped up from each rung once where caps or variants starve it."""
    # Here the candidates are fixed: random draws choose among these only.
    slate = await _rerank(candidates, rules, context)
    for index in range(len(generator.rungs)):
        further = slate.top_up()
        if further is None:
            break
        await generator.top_up(candidates, index, further, missing=slate.missing)
        slate = await _rerank(candidates, rules, context)
    for outcome, used in zip(generator.outcomes, slate.used(len(generator.outcomes)).tolist(), strict=True):
        outcome.used = used
    return slate


async def _rerank(candidates: Candidates, rules: Rules, context: RerankContext) -> Slate:
    """Re-rank, in a thread where comparing words would hold up the event loop."""
    scored = ScoredCandidates(candidates.rows, candidates.scores, candidates.tiers)
    if rules.weighs_similarity:
        return Slate(candidates, context, await asyncio.to_thread(rules.rerank, scored, context))
    return Slate(candidates, context, rules.rerank(scored, context))

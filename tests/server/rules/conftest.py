"""Small shops whose pages are re-ranked by rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from endcap.catalog.configuration.rules import Action, Rule
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.reranking import RerankContext, Reranked, ScoredCandidates, compile_rules


# Property tests draw the same examples every time, and a busy machine is no failure.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page, by the ids of its items."""

    ids: list[str]
    reranked: Reranked
    open_ids: list[str] | None

    @property
    def counts(self) -> dict[str, Mapping[str, int]]:
        """What each rule counted, by its name: that of its kind."""
        return {outcome.name: outcome.counts for outcome in self.reranked.outcomes}


def _page(
    items: Sequence[SampleItem],
    *actions: Action,
    scores: Sequence[float] | None = None,
    tiers: Sequence[int] | None = None,
    candidates: Sequence[str] | None = None,
    page_size: int = 10,
    first_page: bool = True,
    exposures: Mapping[str, int] = MappingProxyType({}),
) -> Page:
    """Re-rank items that a strategy ranked: all of them unless said otherwise, best first."""
    view = catalog(items)
    vocabulary = view.vocabulary
    rows = vocabulary.rows(candidates if candidates is not None else vocabulary.ids)
    rules = compile_rules([Rule(f"{action.kind} {n}", action) for n, action in enumerate(actions, start=1)])
    reranked = rules.rerank(
        ScoredCandidates(
            rows,
            np.array(range(len(rows), 0, -1) if scores is None else scores, np.float32),
            np.array([0] * len(rows) if tiers is None else tiers, np.int32),
        ),
        RerankContext(
            view,
            page_size,
            first_page,
            masks={condition.text: condition.mask(view) for condition in rules.conditions},
            exposures=[(0, vocabulary.row(item)) for item, times in exposures.items() for _ in range(times)],
        ),
    )
    open_rows = reranked.open
    return Page(
        [vocabulary.ids[row] for row in rows[reranked.order]],
        reranked,
        None if open_rows is None else [vocabulary.ids[row] for row in np.flatnonzero(open_rows)],
    )


@pytest.fixture(scope="session")
def page_of() -> Callable[..., Page]:
    """Makes a page of items by actions; its counts are named by kind and number, as ``cap 1``."""
    return _page

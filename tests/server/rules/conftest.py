"""Small shops whose pages are arranged by rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from endcap.catalog.rules import Action, Rule
from endcap.sdk.testing import Item, catalog
from endcap.server.rules import Arranged, Candidates, Context, RuleOutcome, compile_rules


# Property tests draw the same examples every time, and a busy machine is no failure.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page, by the ids of its items."""

    ids: list[str]
    arranged: Arranged
    open_ids: list[str] | None

    @property
    def outcomes(self) -> dict[str, RuleOutcome]:
        """What each rule did, by its name: that of its kind."""
        return {outcome.name: outcome for outcome in self.arranged.outcomes}


def _page(
    items: Sequence[Item],
    *actions: Action,
    scores: Sequence[float] | None = None,
    rungs: Sequence[int] | None = None,
    candidates: Sequence[str] | None = None,
    page_size: int = 10,
    first_page: bool = True,
    exposures: Mapping[str, int] = MappingProxyType({}),
) -> Page:
    """Arrange items that a strategy ranked: all of them unless said otherwise, best first."""
    view = catalog(items)
    vocabulary = view.vocabulary
    rows = vocabulary.rows(candidates if candidates is not None else vocabulary.ids)
    rules = compile_rules([Rule(f"{action.kind} {n}", action) for n, action in enumerate(actions, start=1)])
    arranged = rules.arrange(
        Candidates(
            rows,
            np.array(range(len(rows), 0, -1) if scores is None else scores, np.float32),
            np.array([0] * len(rows) if rungs is None else rungs, np.int32),
        ),
        Context(
            view,
            page_size,
            first_page,
            mask=lambda filter_: filter_.mask(view),
            exposures=lambda window: {vocabulary.row(item): times for item, times in exposures.items()},
        ),
    )
    open_rows = arranged.open
    return Page(
        [vocabulary.ids[row] for row in rows[arranged.order]],
        arranged,
        None if open_rows is None else [vocabulary.ids[row] for row in np.flatnonzero(open_rows)],
    )


@pytest.fixture(scope="session")
def page_of() -> Callable[..., Page]:
    """Arranges a page of items by actions; its outcomes are named by kind and number, as ``cap 1``."""
    return _page

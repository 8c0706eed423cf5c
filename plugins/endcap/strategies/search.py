"""Search: items that match the text; the user's preferences order matches of nearly equal relevance.

The score of a match is ``r / r_max + taste · 1 / (1 + exp(−z))``: its relevance as a share of that of the
best match, and the user's preference for it, from 0 to 1. ``z`` is the z-score that another strategy gives
the match among the matches of the query, 0 where that strategy has no score. So no item overtakes a match
whose relevance is higher by ``taste`` times the best one or more.

If the other strategy has no model, or scores no match for this user, popularity takes its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from endcap.sdk import (
    NO_ROWS,
    CatalogView,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    ScoringStrategy,
    Task,
    hookimpl,
    parameter,
)
from endcap.sdk.errors import EndcapError, FailedPrecondition, ModelMissing


SCORE_PREFERENCES = ("hybrid", "ease")
"""The strategies that score the user's preferences unless a placement names one: the first that serves."""


@dataclass(frozen=True)
class SearchParameters:
    """The parameters of ``search``."""

    taste: float = parameter(
        0.1,
        "Weight of preferences, relative to the best relevance; higher personalises more.",
        minimum=0,
        maximum=1,
    )
    personal: str = parameter(
        "",
        f"The strategy that scores preferences; empty for the first of {', '.join(SCORE_PREFERENCES)}.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """The matches of one query."""

    rows: Rows
    scores: Scores

    liking: Scores
    """The z-scores of ``known_by``, 0 where it has no score."""

    known_by: ScoringStrategy
    """The strategy that scores how well each item suits the user."""


class Search:
    """Recommends the items that match the text, the best first, near-equal ones by the user's preferences."""

    tasks = frozenset({Task.SEARCH})

    def __init__(self, resources: Resources, parameters: SearchParameters) -> None:
        self._taste = np.float32(parameters.taste)
        self._popular = _scoring(resources, "popular")
        names = (parameters.personal,) if parameters.personal else SCORE_PREFERENCES
        self._personal = self._popular
        for name in names:
            try:
                self._personal = _scoring(resources, name)
                break
            except ModelMissing:
                continue
            except EndcapError:
                if parameters.personal:
                    raise

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the best of its matches; those that are equal keep their order."""
        matches = self._matches(queries, catalog)
        return [_rank(each, query, catalog) for each, query in zip(matches, queries, strict=True)]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score the matches of each query; nothing else has a score."""
        scores = np.full((len(queries), len(catalog)), np.nan, np.float32)
        for own, matches in zip(scores, self._matches(queries, catalog), strict=True):
            own[matches.rows] = matches.scores
        return scores if rows is None else scores[:, rows]

    def _matches(self, queries: Sequence[Query], catalog: CatalogView) -> Iterator[_Matches]:
        candidates = [NO_ROWS if query.candidates is None else query.candidates for query in queries]
        # One call scores the matches of the whole batch, each row once.
        union = np.unique(np.concatenate([NO_ROWS, *candidates]))
        asked = [replace(query, task=Task.RANK) for query in queries]
        liked = self._personal.score(asked, union, catalog)
        places = [np.searchsorted(union, rows) for rows in candidates]
        strangers = [
            index for index, own in enumerate(places) if len(own) and np.isnan(liked[index, own]).all()
        ]
        if strangers:
            liked = np.array(liked)
            liked[strangers] = self._popular.score([asked[index] for index in strangers], union, catalog)
        for index, (query, rows) in enumerate(zip(queries, candidates, strict=True)):
            liking = _z_scores(liked[index, places[index]])
            share = query.relevance / query.relevance.max(initial=np.finfo(np.float32).tiny)
            scores = share + self._taste / (1 + np.exp(-liking))
            yield _Matches(rows, scores, liking, self._popular if index in strangers else self._personal)


def _scoring(resources: Resources, name: str) -> ScoringStrategy:
    strategy = resources.strategy(name)
    if not isinstance(strategy, ScoringStrategy) or Task.RANK not in strategy.tasks:
        raise FailedPrecondition(f"search cannot score by {name!r}: name a strategy that answers rank")
    return strategy


def _z_scores(scores: Scores) -> Scores:
    """Return z-scores; a NaN becomes 0, the mean."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return np.zeros_like(scores)
    spread = known.std()
    z_scores: Scores = (scores - known.mean()) / (spread if spread > 0 else np.float32(1))
    return np.nan_to_num(z_scores)


def _rank(matches: _Matches, query: Query, catalog: CatalogView) -> Ranking:
    order = np.argsort(-matches.scores, kind="stable")
    best = order[query.eligible.allows(matches.rows[order])][: query.limit]
    ranking = Ranking(matches.rows[best], matches.scores[best])
    if not query.explain or not len(ranking):
        return ranking
    rows = ranking.rows[matches.liking[best] > 0]
    asked = replace(query, task=Task.RANK, candidates=rows, limit=len(rows))
    (liked,) = matches.known_by.recommend([asked], catalog)
    personal = dict(zip(liked.rows.tolist(), liked.reasons, strict=False))
    reasons = tuple((Reason("matches_text"), *personal.get(row, ())) for row in ranking.rows.tolist())
    return Ranking(ranking.rows, ranking.scores, reasons)


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``search``."""
    register("search", Search, SearchParameters)

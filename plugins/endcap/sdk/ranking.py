"""From scores to rankings."""

from collections.abc import Sequence

import numpy as np

from endcap.sdk.catalog_view import CatalogView
from endcap.sdk.query import NO_RANKING, Query, Ranking
from endcap.sdk.strategy import ScoringStrategy
from endcap.sdk.vocabulary import Rows, Scores


def top(scores: Scores, query: Query) -> Ranking:
    """Return the eligible rows of the highest scores.

    Exact: the best ``limit + excluded`` rows of the shared mask are taken, then the excluded are dropped.
    Equal scores stand in the order of their rows.

    Args:
        scores: One score a row of the catalog; NaN rows are left out.
        query: Says how many, and which rows are eligible.
    """
    rows = _candidates(scores, query)
    if not len(rows) or not query.limit:
        return NO_RANKING
    values = scores[rows]
    needed = query.limit + len(query.eligible.excluded)
    if needed < len(rows):
        # Every row that ties with the last one needed stays in, so that ties are broken by row below.
        threshold = np.partition(values, len(values) - needed)[len(values) - needed]
        kept = values >= threshold
        rows, values = rows[kept], values[kept]
    best = np.argsort(-values, kind="stable")
    rows = rows[best]
    rows = rows[~np.isin(rows, query.eligible.excluded)][: query.limit]
    return Ranking(rows, scores[rows])


def recommend_by_score(
    strategy: ScoringStrategy, queries: Sequence[Query], catalog: CatalogView
) -> list[Ranking]:
    """Answer each query with the best rows of the strategy's own scores."""
    scores = strategy.score(queries, None, catalog)
    return [top(row, query) for row, query in zip(scores, queries, strict=True)]


def _candidates(scores: Scores, query: Query) -> Rows:
    if query.candidates is not None:
        given = np.unique(query.candidates)
        return given[query.eligible.mask[given] & ~np.isnan(scores[given])]
    return np.flatnonzero(query.eligible.mask & ~np.isnan(scores)).astype(np.int32)

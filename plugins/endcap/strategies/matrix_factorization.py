"""Matrix factorization: customers and products have embeddings, whose inner products are the scores.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008). The trainer of
the same name finds the item embeddings. The model holds no user: a user's embedding is solved for inside
the graph, from the items of the history, each with a confidence that falls with its age.

For ``similar`` the score is the cosine of the item embeddings.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    Task,
    hookimpl,
    top,
)
from endcap.sdk.features import last_occurrences
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import Profile, distinct_history, explain_profiles, score_profiles


class MatrixFactorization:
    """Recommends the items near the user's vector, or near the item of the page."""

    tasks = frozenset({Task.FOR_YOU, Task.SIMILAR, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model = resources.model("matrix_factorization")
        self._half_life_days = float(self._model.state["half_life_days"])

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores.

        The evidence of a reason is what would speak for the item if it were all that is known of the user.
        """
        scores = self.score(queries, None, catalog)
        rankings = [top(_without_page(row, query), query) for row, query in zip(scores, queries, strict=True)]
        profiles = [self._profile(query, catalog) for query in queries]
        return explain_profiles(self._model, profiles, rankings, queries, catalog, options=_similar(queries))

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the user's embedding: about 1 for items likely to be chosen, 0 for others."""
        profiles = [self._profile(query, catalog) for query in queries]
        return score_profiles(self._model, profiles, rows, catalog, _similar(queries))

    def _profile(self, query: Query, catalog: CatalogView) -> Profile:
        if query.task is not Task.SIMILAR:
            positives = Positives.of_state(self._model.state, catalog.event_weights)
            return distinct_history(query, positives, self._half_life_days)
        rows = last_occurrences(query.items)
        return Profile(rows, np.ones(len(rows), np.float32))


def _similar(queries: Sequence[Query]) -> Mapping[str, NDArray[np.bool_]]:
    """Return for each query whether it is scored by the cosine."""
    return {"similar": np.array([query.task is Task.SIMILAR for query in queries], np.bool_)}


def _without_page(scores: Scores, query: Query) -> Scores:
    """Leave out the items of the page, which are nearest to themselves."""
    if query.task is not Task.SIMILAR:
        return scores
    others = scores.copy()
    others[query.items] = np.nan
    return others


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``matrix_factorization``."""
    register("matrix_factorization", MatrixFactorization)

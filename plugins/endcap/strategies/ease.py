"""EASE: a closed-form linear model of which products one customer buys.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019). The trainer of the same name
solves for a matrix that predicts each product of a customer from all the others; a customer's score
for an item is the sum over the products of the customer's history.
"""

from collections.abc import Sequence

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
    recommend_by_score,
)
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import Profile, distinct_history, explain_profiles, score_profiles


class Ease:
    """Recommends the items that customers with such a history buy, from all their products together."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model = resources.model("ease")

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores."""
        rankings = recommend_by_score(self, queries, catalog)
        profiles = [self._profile(query, catalog) for query in queries]
        return explain_profiles(self._model, profiles, rankings, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the user's whole history, each item of it once."""
        profiles = [self._profile(query, catalog) for query in queries]
        return score_profiles(self._model, profiles, rows, catalog)

    def _profile(self, query: Query, catalog: CatalogView) -> Profile:
        return distinct_history(query, Positives.of_state(self._model.state, catalog.event_weights))


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``ease``."""
    register("ease", Ease)

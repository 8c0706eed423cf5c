"""Next purchase: a closed-form linear model of the purchases that follow a history.

``ease`` learns which products belong to one customer, whenever they were bought. The trainer of the same name
as this strategy learns which purchases followed a history in the weeks after, so its scores have a direction
in time and follow the season.
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


class NextPurchase:
    """Recommends the items that customers with such a history bought in the weeks after."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model = resources.model("next_purchase")
        self._half_life_days = float(self._model.state["history_half_life_days"])

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores."""
        rankings = recommend_by_score(self, queries, catalog)
        profiles = [self._profile(query, catalog) for query in queries]
        return explain_profiles(self._model, profiles, rankings, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the user's whole history, each item of it once, weighted by its age."""
        profiles = [self._profile(query, catalog) for query in queries]
        return score_profiles(self._model, profiles, rows, catalog)

    def _profile(self, query: Query, catalog: CatalogView) -> Profile:
        positives = Positives.of_state(self._model.state, catalog.event_weights)
        return distinct_history(query, positives, self._half_life_days)


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``next_purchase``."""
    register("next_purchase", NextPurchase)

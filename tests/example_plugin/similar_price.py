"""Alternatives that cost about as much as the item of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from endcap.sdk import (
    CatalogView,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    Task,
    hookimpl,
    parameter,
    recommend_by_score,
)


@dataclass(frozen=True)
class SimilarPriceParameters:
    """The parameters of ``similar_price``."""

    tolerance: float = parameter(0.5, "The largest difference, as a share of the item's price.", minimum=0)


class SimilarPrice:
    """Recommends items that cost about as much as the item of the page, the closest first."""

    tasks = frozenset({Task.SIMILAR})

    def __init__(self, _resources: Resources, parameters: SimilarPriceParameters) -> None:
        self._tolerance = parameters.tolerance

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores."""
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the difference in price, 0 for none; items beyond the tolerance have no score."""
        prices = catalog.prices if rows is None else catalog.prices[rows]
        own = np.array([[_price(query, catalog)] for query in queries]).reshape(-1, 1)
        differences = np.abs(prices - own)
        return np.where(differences <= self._tolerance * own, -differences, np.nan).astype(np.float32)


def _price(query: Query, catalog: CatalogView) -> float:
    return float(catalog.prices[query.items[0]]) if len(query.items) else np.nan


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``similar_price``."""
    register("similar_price", SimilarPrice, SimilarPriceParameters)

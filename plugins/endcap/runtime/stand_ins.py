"""Stand-ins for the strategies that another one composes, so that its own bundle is checked alone.

Base models serve with bundles of their own, which change while the bundle that weighs them stays. A stand-in
scores by ids alone, whichever bundles are active, so that each weight shows in the golden answers.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost, Registration
from endcap.sdk import (
    CatalogView,
    Model,
    Query,
    Ranking,
    Resources,
    Rows,
    Scores,
    Strategy,
    Task,
    recommend_by_score,
)


def build_alone(model: Model, host: PluginHost) -> Strategy:
    """Build the strategy of a model, with a stand-in for every strategy that it composes.

    Raises: As ``Instances.get``.
    """
    return Instances(_StandIns(host, model.name), Generation.of([model])).get(model.name)


class StandIn:
    """Scores items by numbers that follow from their ids, the history and the strategy's name."""

    tasks = frozenset(Task)

    def __init__(self, strategy: str) -> None:
        self._start = zlib.crc32(strategy.encode())

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores."""
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Return a number from 0 to 1 a query and item."""
        numbers = np.array([zlib.crc32(item_id.encode(), self._start) for item_id in catalog.vocabulary.ids])
        scores = np.empty((len(queries), len(catalog)), np.float32)
        for own, query in zip(scores, queries, strict=True):
            own[:] = (numbers + numbers[query.history.rows].sum()) % 1000 / 1000
        return scores if rows is None else scores[:, rows]


class _StandIns:
    """Offers one strategy as it is, and a stand-in for each other."""

    def __init__(self, host: PluginHost, strategy: str) -> None:
        self._host = host
        self._strategy = strategy

    def registration(self, strategy: str) -> Registration:
        found = self._host.registration(strategy)
        if strategy == self._strategy:
            return found

        def build(_resources: Resources, parameters: Any) -> StandIn:
            return StandIn(f"{strategy} {parameters}")

        return replace(found, factory=build)

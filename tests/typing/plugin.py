"""A plugin as an outsider types it: this file runs nowhere, it must pass the type checker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from endcap.sdk import (
    CatalogView,
    Model,
    NoParameters,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    ScoringStrategy,
    Strategy,
    StrategyFactory,
    Task,
    align,
    hookimpl,
    parameter,
    recommend_by_score,
    top,
)
from endcap.sdk.testing import FakeModel, SampleItem, SampleShop, StrategyContract


@dataclass(frozen=True)
class BlendParameters:
    """Parameters of every type that there is."""

    share: float = parameter(0.5, "Share of the first strategy.", minimum=0, maximum=1)
    depth: int = parameter(100, "Items to take from each.", minimum=1)
    mode: str = parameter("sum", "How scores are joined.", choices=("sum", "product"))
    strict: bool = parameter(default=False, description="Whether both must know an item.")


class Blend:
    """A strategy that composes others, and cannot score."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self, resources: Resources, parameters: BlendParameters) -> None:
        self._first: Strategy = resources.strategy("first", {"days": 7})
        self._depth: int = parameters.depth

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        return self._first.recommend(queries, catalog)


class Modelled:
    """A strategy that runs a model and scores."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model: Model = resources.model("modelled")

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        scores = self.score(queries, None, catalog)
        return [top(row, query) for row, query in zip(scores, queries, strict=True)]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        alignment = align(self._model.vocabulary, catalog.vocabulary)
        outputs = self._model.run({"queries": np.ones((len(queries), 1), np.float32)})
        scores = alignment.spread(outputs["scores"].astype(np.float32))
        return scores if rows is None else scores[:, rows]


def build_blend(resources: Resources, parameters: BlendParameters) -> Strategy:
    """A function is a factory as well as a class."""
    return Blend(resources, parameters)


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer every kind of strategy."""
    register("blend", Blend, BlendParameters)
    register("built", build_blend, BlendParameters)
    register("modelled", Modelled)


def check_protocols(modelled: Modelled, blend: Blend) -> None:
    """What is assigned here must be of that type."""
    factory: StrategyFactory = Modelled
    scoring: ScoringStrategy = modelled
    strategies: list[Strategy] = [modelled, blend]
    queries: list[Query] = []
    shop = SampleShop(factory(_Resources(), NoParameters()), _Contract().shop([SampleItem("mug")]).view)
    recommend_by_score(scoring, queries, shop.view)
    shop.recommend(["mug"], 3, task=Task.RANK, candidates=["mug"])
    strategies[0].recommend(queries, shop.view)


class _Resources:
    """What implements ``Resources`` needs no base class."""

    def model(self, name: str) -> Model:
        raise NotImplementedError(name)

    def strategy(self, name: str, parameters: object = None) -> Strategy:
        raise NotImplementedError(name, parameters)


class _Contract(StrategyContract):
    strategy = Modelled
    models: Sequence[Model] = ()


def check_fakes(model: FakeModel) -> Model:
    """A fake is a model."""
    return model

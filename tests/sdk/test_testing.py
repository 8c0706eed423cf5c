"""The contract tests find every kind of broken strategy, and the small shop asks what it is told to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    Model,
    NoParameters,
    Query,
    Ranking,
    Reason,
    Resources,
    Rows,
    Scores,
    Task,
    Tensors,
    Vocabulary,
    align,
    parameter,
    recommend_by_score,
)
from endcap.sdk.errors import ModelMissing, NotFound
from endcap.sdk.features import DAY
from endcap.sdk.testing import (
    CHECKERBOARD_IDS,
    NOW,
    FakeModel,
    FakeResources,
    SampleEvent,
    SampleItem,
    SampleShop,
    StrategyContract,
    catalog,
    checkerboard,
)


class Dearest:
    """Recommends the dearest items: a strategy that keeps every promise."""

    tasks = frozenset(Task)

    def __init__(self, _resources: Resources, _parameters: object) -> None:
        """It needs nothing."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        prices = catalog.prices if rows is None else catalog.prices[rows]
        return np.tile(prices.astype(np.float32), (len(queries), 1))


class TestDearest(StrategyContract):
    strategy = Dearest


@dataclass(frozen=True)
class Factor:
    """Parameters."""

    factor: float = parameter(1.0, "What scores are multiplied by.")


class Modelled:
    """Runs a model, composes a strategy, takes parameters."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, parameters: Factor) -> None:
        self._model = resources.model("constant")
        self._other = resources.strategy("dearest")
        self._factor = np.float32(parameters.factor)

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        self._other.recommend(queries, catalog)
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        outputs = self._model.run({"queries": np.zeros(len(queries))})
        scores = align(self._model.vocabulary, catalog.vocabulary).spread(outputs["scores"]) * self._factor
        return scores if rows is None else scores[:, rows]


def constant(inputs: Tensors) -> Tensors:
    return {"scores": np.tile(np.arange(6, dtype=np.float32), (len(inputs["queries"]), 1))}


MODEL = FakeModel("constant", Vocabulary(CHECKERBOARD_IDS), constant)


class TestModelled(StrategyContract):
    strategy = Modelled
    parameters = Factor(2.0)
    models: Sequence[Model] = (MODEL,)
    strategies = {"dearest": Dearest(FakeResources(), NoParameters())}  # noqa: RUF012

    def test_the_shop_has_the_model_and_the_parameters(self) -> None:
        ranking = self.shop(["c", "f", "new"]).rank()

        assert ranking.rows.tolist() == [1, 0]
        assert ranking.scores.tolist() == [10, 4]


_calls = count()


class Mutating(Dearest):
    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        for query in queries:
            query.eligible.mask[:] = True
        return super().recommend(queries, catalog)


class Seeding(Dearest):
    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        np.random.seed(0)  # noqa: NPY002
        return super().recommend(queries, catalog)


class Tasteless(Dearest):
    tasks = frozenset()


class Shortened(Dearest):
    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return super().recommend(queries, catalog)[:-1]


class Hurried(Dearest):
    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        return np.stack([super(Hurried, self).score([query], rows, catalog)[0] for query in queries])


class Infinite(Dearest):
    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        return np.full_like(super().score(queries, rows, catalog), np.inf)


class Choosy(Dearest):
    """Leaves out of its lists what it scores."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        rankings = super().recommend(queries, catalog)
        return [Ranking(ranking.rows[:1], ranking.scores[:1]) for ranking in rankings]


class Contrary(Dearest):
    """Scores the items of its lists the other way round."""

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        order = np.arange(len(catalog), dtype=np.float32)
        return np.tile(order if rows is None else order[rows], (len(queries), 1))

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        rankings = super().recommend(queries, catalog)
        return [Ranking(ranking.rows[::-1], -ranking.scores[::-1]) for ranking in rankings]


class Deaf(Dearest):
    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        return super().score(queries, None, catalog)


class Double(Dearest):
    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        return super().score(queries, rows, catalog).astype(np.float64)


def spoiling(spoil: Callable[[Ranking, Query, int], Ranking]) -> type[Dearest]:
    """Return a strategy whose rankings are spoilt one by one, given the size of the batch."""

    class Spoilt(Dearest):
        def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
            rankings = super().recommend(queries, catalog)
            return [spoil(each, query, len(queries)) for each, query in zip(rankings, queries, strict=True)]

    return Spoilt


def with_rows(rows: NDArray[np.integer]) -> Ranking:
    return Ranking(rows.astype(np.int32), np.zeros(len(rows), np.float32))


BROKEN = {
    "says-no-task": (Tasteless, "tasks must be a frozenset that is not empty"),
    "writes-to-the-mask": (Mutating, "read-only"),
    "seeds-the-global-generator": (Seeding, "use the query's seed"),
    "forgets-a-query": (Shortened, "one ranking a query"),
    "fails-on-an-empty-batch": (Hurried, "need at least one array"),
    "scores-infinitely": (Infinite, "never infinity"),
    "ignores-the-rows": (Deaf, "broadcast"),
    "scores-in-double": (Double, "float32"),
    "leaves-out-what-it-scores": (Choosy, "score must give NaN for items that recommend leaves out"),
    "scores-another-order": (Contrary, "in different orders"),
    "too-many": (spoiling(lambda _, query, __: with_rows(np.arange(query.limit + 1))), "holds more than"),
    "forbidden": (spoiling(lambda *_: with_rows(np.array([6]))), "holds a forbidden item"),
    "twice": (
        spoiling(lambda ranking, *_: with_rows(np.repeat(ranking.rows[:1], min(2, len(ranking))))),
        "holds an item twice",
    ),
    "all-eligible-though-candidates": (
        spoiling(
            lambda _, query, __: with_rows(
                np.flatnonzero(query.eligible.allows(np.arange(8, dtype=np.int32)))[: query.limit]
            )
        ),
        "is no candidate",
    ),
    "nan": (
        spoiling(lambda ranking, *_: replace(ranking, scores=np.full_like(ranking.scores, np.nan))),
        "a score is NaN",
    ),
    "increasing": (
        spoiling(lambda ranking, *_: replace(ranking, scores=np.arange(len(ranking), dtype=np.float32))),
        "scores increase",
    ),
    "a-score-short": (
        spoiling(lambda ranking, *_: replace(ranking, scores=ranking.scores[:-1])),
        "one score a row",
    ),
    "a-reason-short": (
        spoiling(lambda ranking, *_: replace(ranking, reasons=((),) * max(1, len(ranking) - 1))),
        "reasons must be as many as rows",
    ),
    "foreign-evidence": (
        spoiling(
            lambda ranking, *_: replace(ranking, reasons=((Reason("why", np.array([8])),),) * len(ranking))
        ),
        "names an item that does not exist",
    ),
    "by-batch": (
        spoiling(
            lambda ranking, _, size: ranking if size == 1 else replace(ranking, scores=ranking.scores + 1)
        ),
        "a batch changes the answer",
    ),
    "by-chance": (
        spoiling(lambda ranking, *_: replace(ranking, scores=ranking.scores + next(_calls))),
        "a second instance gives another answer",
    ),
}


def failures_of(factory: type[Dearest]) -> Iterator[str]:
    class Contract(StrategyContract):
        strategy = factory

    for name in dir(Contract):
        if name.startswith("test_"):
            try:
                getattr(Contract(), name)()
            except Exception as error:  # noqa: BLE001
                yield str(error)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_found(name: str) -> None:
    factory, message = BROKEN[name]

    messages = list(failures_of(factory))

    assert any(message in each for each in messages), messages


def test_a_strategy_that_keeps_its_promises_passes() -> None:
    assert list(failures_of(Dearest)) == []


SHOP = SampleShop(
    Dearest(FakeResources(), NoParameters()),
    catalog(
        [
            SampleItem("mug", price=3),
            SampleItem("lamp", price=9),
            SampleItem("cup", price=5),
            SampleItem("old", available=False),
        ]
    ),
)


def test_a_shop_recommends_by_ids() -> None:
    assert SHOP.recommend(["mug"], 2) == ["lamp", "cup"]
    assert SHOP.recommend(exclude=["lamp"]) == ["cup", "mug"]
    assert SHOP.recommend(task=Task.SIMILAR, items=["cup"]) == ["lamp", "mug"]
    assert SHOP.recommend(task=Task.RANK, candidates=["mug", "cup"]) == ["cup", "mug"]
    assert SHOP.rank(n=1).scores.tolist() == [9]


def test_a_shop_asks_what_it_is_told_to() -> None:
    query = SHOP.query(["mug", "cup"], 3, history_type="view", text="cup", explain=True)

    assert SHOP.ids(query.history.rows) == ["mug", "cup"]
    assert query.history.types.tolist() == ["view", "view"]
    assert query.history.times.tolist() == [NOW - 2 * DAY, NOW - DAY]
    assert (query.limit, query.time, query.text, query.explain) == (3, NOW, "cup", True)
    assert query.candidates is None
    assert query.relevance.tolist() == []


def test_a_search_has_matches_and_how_good_they_are() -> None:
    query = SHOP.query(task=Task.SEARCH, text="cup", candidates=["cup", "mug"], relevance=[2, 0.5])

    assert query.candidates is not None
    assert SHOP.ids(query.candidates) == ["cup", "mug"]
    assert query.relevance.tolist() == [2, 0.5]


def test_an_id_that_the_catalog_does_not_hold_is_named() -> None:
    with pytest.raises(ValueError, match="the catalog has no item 'kettle'"):
        SHOP.recommend(["mug", "kettle"])
    with pytest.raises(ValueError, match="the catalog has no item 'kettle'"):
        catalog(["mug"], [SampleEvent("ann", "kettle")])


def test_resources_name_what_a_test_forgot() -> None:
    resources = FakeResources([MODEL])

    assert resources.model("constant") is MODEL
    with pytest.raises(ModelMissing, match="the test has no model 'ease'"):
        resources.model("ease")
    with pytest.raises(NotFound, match="the test has no strategy 'popular'"):
        resources.strategy("popular")


def test_the_checkerboard_holds_more_than_models_know() -> None:
    view = checkerboard()

    assert set(view.vocabulary.ids) == {*CHECKERBOARD_IDS, "gone", "new"}
    assert view.users_by_age["purchase"].sum(axis=0).tolist() == [3] * 6 + [0, 0]
    assert view.available[view.vocabulary.row("gone")].tolist() is False

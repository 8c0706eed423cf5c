from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType

import numpy as np
import pytest

from endcap.sdk import (
    CatalogView,
    Query,
    Ranking,
    Reason,
    Rows,
    Scores,
    Strategy,
    Task,
    Tensors,
    Vocabulary,
    recommend_by_score,
)
from endcap.sdk.errors import InvalidInput, ModelMissing
from endcap.sdk.testing import (
    CHECKERBOARD_IDS,
    FakeModel,
    FakeResources,
    SampleShop,
    StrategyContract,
    catalog,
)
from endcap.strategies.hybrid import Hybrid, HybridParameters, read_weights, standardize


ITEMS = CHECKERBOARD_IDS
"""a, b, c, d, e, f."""


@dataclass(frozen=True)
class Fixed:
    """A base model that says the same of every user, and gives its own name as the reason."""

    name: str
    scores: Mapping[str, float]
    tasks: frozenset[Task] = frozenset({Task.FOR_YOU})

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        own = np.array([self.scores.get(item, np.nan) for item in catalog.vocabulary.ids], np.float32)
        scores = np.tile(own, (len(queries), 1))
        return scores if rows is None else scores[:, rows]

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        rankings = recommend_by_score(self, queries, catalog)
        return [
            Ranking(ranking.rows, ranking.scores, ((Reason(self.name),),) * len(ranking))
            for ranking in rankings
        ]


class ListsOnly:
    """A strategy that does not score."""

    tasks = frozenset({Task.FOR_YOU})

    def recommend(self, _queries: Sequence[Query], _catalog: CatalogView) -> list[Ranking]:
        return []


class NeedsModel(FakeResources):
    """Resources of a shop in which ``untrained`` has no model."""

    def strategy(self, name: str, parameters: Mapping[str, object] | None = None) -> Strategy:
        if name == "untrained":
            raise ModelMissing("train it")
        return super().strategy(name, parameters)


TASTE = Fixed("taste", {"a": 3, "b": 1, "c": 2})
"""Mean 2, deviation √(2/3): a has z = √1.5, b −√1.5, c 0."""

TREND = Fixed("trend", {"a": 10, "b": 30, "c": 10, "d": 30})
"""Mean 20, deviation 10: a and c have z = −1, b and d 1."""

BASE_MODELS = MappingProxyType({"taste": TASTE, "trend": TREND})


def run(inputs: Tensors) -> Tensors:
    """Do what the trained graph does, its weights 2 and 1."""
    return {"scores": np.tensordot(np.array([2, 1], np.float32), inputs["z_scores"], 1)}


MODEL = FakeModel("hybrid", Vocabulary(ITEMS), run, {"weights": {"taste": 2.0, "trend": 1.0}})


def shop(weights: str, items: Sequence[str] = ("a", "b", "c", "d", "e")) -> SampleShop:
    """Return a shop whose hybrid has weights set by hand."""
    return SampleShop(Hybrid(NeedsModel([], BASE_MODELS), HybridParameters(weights)), catalog(items))


class TestHybrid(StrategyContract):
    """It blends as the model says."""

    strategy = Hybrid
    parameters = HybridParameters()
    models = (MODEL,)
    strategies = BASE_MODELS

    def test_scores_are_the_weighted_sum_of_z_scores(self) -> None:
        """By hand: a 2√1.5 − 1, d 1 for taste does not know it, c −1, b 1 − 2√1.5; nobody knows e and f."""
        shop = self.shop(ITEMS)

        ranking = shop.rank()

        assert shop.ids(ranking.rows) == ["a", "d", "c", "b"]
        np.testing.assert_allclose(ranking.scores, [2 * sqrt(1.5) - 1, 1, -1, 1 - 2 * sqrt(1.5)], rtol=1e-6)

    def test_a_list_is_ranked_by_the_same_scores(self) -> None:
        found = self.shop(ITEMS).recommend(task=Task.RANK, candidates=["e", "b", "d", "a"])

        assert found == ["a", "d", "b"]

    def test_the_reason_is_that_of_the_base_model_that_adds_most(self) -> None:
        """Taste speaks for a, trend for b and d; to c both add nothing or less, so it has none."""
        shop = self.shop(ITEMS)

        ranking = shop.rank(explain=True)

        kinds = [[reason.kind for reason in reasons] for reasons in ranking.reasons]
        assert dict(zip(shop.ids(ranking.rows), kinds, strict=True)) == {
            "a": ["taste"],
            "b": ["trend"],
            "c": [],
            "d": ["trend"],
        }


class TestHybridByHand(StrategyContract):
    """It blends as the operator says, without a model of its own."""

    strategy = Hybrid
    parameters = HybridParameters("taste=1 trend=0.5")
    strategies = BASE_MODELS

    def test_weights_by_hand_override_the_model(self) -> None:
        assert shop("trend=1").recommend() == ["b", "d", "a", "c"]
        assert shop("taste=1").recommend() == ["a", "c", "b"]


def test_a_filter_changes_no_score() -> None:
    whole = shop("taste=1 trend=1").rank()
    filtered = shop("taste=1 trend=1").rank(exclude=["a", "c"])

    kept = np.isin(whole.rows, filtered.rows)
    np.testing.assert_array_equal(whole.rows[kept], filtered.rows)
    np.testing.assert_array_equal(whole.scores[kept], filtered.scores)


def test_a_base_model_without_a_model_is_left_out() -> None:
    assert shop("untrained=5 trend=1").recommend() == shop("trend=1").recommend()


def test_a_base_model_of_weight_0_is_not_asked() -> None:
    """Only trend knows d."""
    assert shop("taste=1 trend=0").recommend() == ["a", "c", "b"]


def test_what_a_model_knows_and_does_not_score_has_its_least_score() -> None:
    """By hand: a and b have 3 and 1, c is known and has 1 too; the mean is 5/3, and the new item has it."""
    pair = Fixed("pair", {"a": 3, "b": 1})
    knows = FakeModel("pair", Vocabulary(("a", "b", "c")), run)
    hybrid = Hybrid(FakeResources([knows], {"pair": pair}), HybridParameters("pair=1"))
    everybody = Fixed("trend", dict.fromkeys(("a", "b", "c", "new"), 1.0))
    both = Hybrid(
        FakeResources([knows], {"pair": pair, "trend": everybody}), HybridParameters("pair=1 trend=1")
    )
    view = catalog(("a", "b", "c", "new"))

    ranking = SampleShop(hybrid, view).rank()

    assert [view.vocabulary.ids[row] for row in ranking.rows] == ["a", "b", "c"]
    assert ranking.scores[1] == ranking.scores[2]
    assert SampleShop(both, view).recommend() == ["a", "new", "b", "c"]


def test_without_any_base_model_there_is_no_strategy() -> None:
    with pytest.raises(ModelMissing, match="which are untrained"):
        shop("untrained=5")


def test_without_weights_there_is_no_strategy() -> None:
    with pytest.raises(ModelMissing, match="hybrid"):
        shop("")


def test_a_strategy_that_does_not_score_is_no_base_model() -> None:
    with pytest.raises(InvalidInput, match="'lists' does not score"):
        Hybrid(FakeResources([], {"lists": ListsOnly()}), HybridParameters("lists=1"))


def test_a_variant_is_a_strategy_with_parameters() -> None:
    asked: list[tuple[str, Mapping[str, object] | None]] = []

    class Recording(FakeResources):
        def strategy(self, name: str, parameters: Mapping[str, object] | None = None) -> Strategy:
            asked.append((name, parameters))
            return TREND

    Hybrid(Recording(), HybridParameters("popular_week=1 ease=1"))

    assert asked == [("popular", {"window_days": 7}), ("ease", {})]


def test_equal_scores_say_nothing() -> None:
    """The mean of many a tenth is not quite a tenth, which must not become a difference."""
    scores = np.full((1, 1001), 0.1, np.float32)
    scores[0, 0] = np.nan

    z_scores = standardize(scores)

    assert np.isnan(z_scores[0, 0])
    assert not z_scores[0, 1:].any()


def test_a_query_of_which_a_base_model_knows_nothing_stays_without_scores() -> None:
    z_scores = standardize(np.array([[np.nan, np.nan], [1, 3]], np.float32))

    np.testing.assert_array_equal(z_scores, np.array([[np.nan, np.nan], [-1, 1]], np.float32))


def test_weights_are_read_in_their_order() -> None:
    assert list(read_weights(" ease=1  popular_week=.5 ").items()) == [("ease", 1), ("popular_week", 0.5)]


@pytest.mark.parametrize(
    "text", ["ease", "ease=", "=1", "ease=much", "ease=-1", "ease=nan", "ease=inf", "ease=1 ease=2", "ease=0"]
)
def test_other_weights_are_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"weight.*as in 'ease=1") as refused:
        read_weights(text)

    assert refused.value.field == "weights"

import numpy as np

from endcap.sdk import Task, Tensors, Vocabulary
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, SampleItem, StrategyContract
from endcap.strategies.matrix_factorization import MatrixFactorization


ITEMS = CHECKERBOARD_IDS
"""a, b, c, d, e, f."""

FACTORS = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8], [-1, 0], [0, -1]], np.float32)


def run(inputs: Tensors) -> Tensors:
    """Score by the sum of the profile's factors, or by their negative for ``similar``, to tell them apart."""
    scores = inputs["weights"] @ (FACTORS[inputs["rows"]] @ FACTORS.T)
    return {"scores": np.where(inputs["similar"][:, None], -scores, scores).astype(np.float32)}


def model(half_life_days: float) -> FakeModel:
    return FakeModel("matrix_factorization", Vocabulary(ITEMS), run, {"half_life_days": half_life_days})


class TestMatrixFactorization(StrategyContract):
    strategy = MatrixFactorization
    models = (model(1),)

    def test_what_was_bought_last_weighs_most(self) -> None:
        """With a half-life of a day, ``c`` of yesterday has 1/2 and ``a`` of the day before 1/4."""
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "c"], n=2, exclude=["a", "c"])

        assert shop.ids(ranking.rows) == ["d", "b"]
        np.testing.assert_allclose(ranking.scores, [0.25 * 0.6 + 0.5 * 0.8, 0.25 * 0.8 + 0.5 * 0.6])

    def test_an_item_bought_twice_has_the_age_of_the_last_time(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "a"], n=1, exclude=["a"])

        assert shop.ids(ranking.rows) == ["b"]
        np.testing.assert_allclose(ranking.scores, [0.5 * 0.8])

    def test_events_that_count_nothing_say_nothing(self) -> None:
        assert self.shop(ITEMS).recommend(["a"], history_type="return") == []

    def test_a_new_user_gets_nothing_so_that_the_ladder_goes_on(self) -> None:
        assert self.shop(ITEMS).recommend() == []

    def test_similar_asks_for_the_cosine_and_leaves_out_the_item_itself(self) -> None:
        shop = self.shop([*ITEMS, SampleItem("unknown to the model")])

        found = shop.recommend(task=Task.SIMILAR, items=["e"])

        assert found == ["a", "b", "d", "c", "f"]

    def test_the_evidence_is_what_alone_would_speak_for_the_item(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "c", "e"], n=3, exclude=["a", "c", "e"], explain=True)

        assert shop.ids(ranking.rows) == ["d", "b", "f"]
        evidence = [[shop.ids(reason.evidence) for reason in reasons] for reasons in ranking.reasons]
        assert evidence == [[["c", "a"]], [["c", "a"]], []]

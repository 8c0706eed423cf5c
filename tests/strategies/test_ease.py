import numpy as np

from endcap.sdk import Tensors, Vocabulary
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, StrategyContract
from endcap.strategies.ease import Ease


ITEMS = CHECKERBOARD_IDS
"""a, b, c, d, e, f."""

WEIGHTS = np.zeros((6, 6), np.float32)
WEIGHTS[0, [1, 2, 3]] = [0.5, 0.2, -0.1]
WEIGHTS[1, [2, 4]] = [-0.1, 0.3]


def run(inputs: Tensors) -> Tensors:
    """Do what the trained graph does."""
    return {"scores": inputs["weights"] @ WEIGHTS[inputs["rows"]]}


class TestEase(StrategyContract):
    strategy = Ease
    models = (FakeModel("ease", Vocabulary(ITEMS), run),)

    def test_every_product_of_the_history_counts_once(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b", "a"], n=2, exclude=["a", "b"])

        assert shop.ids(ranking.rows) == ["e", "c"]
        np.testing.assert_allclose(ranking.scores, [0.3, 0.2 - 0.1], rtol=1e-6)

    def test_what_speaks_against_the_history_comes_last(self) -> None:
        assert self.shop(ITEMS).recommend(["a"], exclude=["a"])[-1] == "d"

    def test_a_new_user_gets_nothing_so_that_the_ladder_goes_on(self) -> None:
        assert self.shop(ITEMS).recommend() == []

    def test_the_evidence_is_what_speaks_for_the_item(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b"], n=4, exclude=["a", "b"], explain=True)

        assert shop.ids(ranking.rows) == ["e", "c", "f", "d"]
        evidence = [[shop.ids(reason.evidence) for reason in reasons] for reasons in ranking.reasons]
        assert evidence == [[["b"]], [["a"]], [], []]

import numpy as np

from endcap.sdk import Tensors, Vocabulary
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, StrategyContract
from endcap.strategies.next_purchase import NextPurchase


ITEMS = CHECKERBOARD_IDS
"""a, b, c, d, e, f."""

WEIGHTS = np.zeros((6, 6), np.float32)
WEIGHTS[0, [2, 3]] = [0.8, 0.2]
WEIGHTS[1, [2, 4]] = [0.1, 0.3]


def run(inputs: Tensors) -> Tensors:
    """Do what the trained graph does."""
    return {"scores": inputs["weights"] @ WEIGHTS[inputs["rows"]]}


class TestNextPurchase(StrategyContract):
    strategy = NextPurchase
    models = (FakeModel("next_purchase", Vocabulary(ITEMS), run, {"history_half_life_days": 1}),)

    def test_older_products_count_less(self) -> None:
        """With a half-life of a day, ``b`` of yesterday has 1/2 and ``a`` of the day before 1/4."""
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b"], n=3, exclude=["a", "b"])

        assert shop.ids(ranking.rows) == ["c", "e", "d"]
        np.testing.assert_allclose(ranking.scores, [0.8 / 4 + 0.1 / 2, 0.3 / 2, 0.2 / 4], rtol=1e-6)

    def test_a_new_user_gets_nothing_so_that_the_ladder_goes_on(self) -> None:
        assert self.shop(ITEMS).recommend() == []

    def test_the_evidence_is_what_the_item_tends_to_follow(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b"], n=4, exclude=["a", "b"], explain=True)

        evidence = [[shop.ids(reason.evidence) for reason in reasons] for reasons in ranking.reasons]
        assert evidence == [[["a", "b"]], [["b"]], [["a"]], []]

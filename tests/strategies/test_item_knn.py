from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from endcap.sdk import Task, Tensors, Vocabulary
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, StrategyContract
from endcap.strategies.item_knn import ItemKnn


ITEMS = CHECKERBOARD_IDS
"""a, b, c, d, e, f."""

NEAR = np.zeros((6, 6), np.float32)
NEAR[0, [1, 2, 3]] = [0.5, 0.2, 0.1]
NEAR[1, [0, 2]] = [0.5, 0.4]
NEAR[2, [0, 4]] = [0.2, 0.3]

AFTER = np.zeros((6, 6), np.float32)
AFTER[0, 4] = 0.6
AFTER[1, [3, 4]] = [0.3, 0.2]


def run(inputs: Tensors) -> Tensors:
    """Do what the trained graph does."""
    rows, weights = inputs["rows"], inputs["weights"]
    return {"scores": np.where(inputs["directional"][:, None], weights @ AFTER[rows], weights @ NEAR[rows])}


def model(mode: str) -> FakeModel:
    state: Mapping[str, Any] = {"mode": mode}
    return FakeModel("item_knn", Vocabulary(ITEMS), run, state)


class TestBasketMode(StrategyContract):
    strategy = ItemKnn
    models = (model("basket"),)

    def test_similarities_to_every_product_of_the_history_add_up(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b", "a"], exclude=["a", "b"])

        assert shop.ids(ranking.rows) == ["c", "d"]
        np.testing.assert_allclose(ranking.scores, [0.2 + 0.4, 0.1])

    def test_what_nothing_links_to_the_history_is_left_out(self) -> None:
        assert self.shop(ITEMS).recommend(["c"]) == ["e", "a"]

    def test_a_new_user_gets_nothing_so_that_the_ladder_goes_on(self) -> None:
        assert self.shop(ITEMS).recommend() == []

    def test_a_history_of_unknown_items_is_nothing_to_go_on(self) -> None:
        assert self.shop([*ITEMS, "new"]).recommend(["new"]) == []

    def test_events_that_count_nothing_are_passed_over(self) -> None:
        assert self.shop(ITEMS).recommend(["c"], history_type="return") == []

    def test_views_are_followed_too(self) -> None:
        assert self.shop(ITEMS).recommend(["c"], history_type="view") == ["e", "a"]

    def test_similar_goes_by_the_item_of_the_page_and_not_by_the_history(self) -> None:
        assert self.shop(ITEMS).recommend(["c"], task=Task.SIMILAR, items=["a"]) == ["b", "c", "d"]

    def test_related_goes_by_the_whole_cart_in_one_direction(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(task=Task.RELATED, items=["a", "b"])

        assert shop.ids(ranking.rows) == ["e", "d"]
        np.testing.assert_allclose(ranking.scores, [0.6 + 0.2, 0.3])

    def test_the_items_of_the_page_are_never_their_own_neighbours(self) -> None:
        assert self.shop(ITEMS).recommend(task=Task.SIMILAR, items=["a", "b"]) == ["c", "d"]

    def test_a_given_list_is_put_in_order(self) -> None:
        shop = self.shop(ITEMS)

        assert shop.recommend(["a"], task=Task.RANK, candidates=["d", "f", "b"]) == ["b", "d"]

    def test_the_evidence_is_what_adds_most(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(["a", "b", "f"], exclude=["a", "b"], explain=True)

        assert shop.ids(ranking.rows) == ["c", "d"]
        reasons = [(reason.kind, shop.ids(reason.evidence)) for (reason,) in ranking.reasons]
        assert reasons == [("bought_together", ["b", "a"]), ("bought_together", ["a"])]

    def test_evidence_of_a_cart_follows_its_direction(self) -> None:
        shop = self.shop(ITEMS)

        ranking = shop.rank(task=Task.RELATED, items=["b", "a"], explain=True)

        assert [shop.ids(reason.evidence) for (reason,) in ranking.reasons] == [["a", "b"], ["b"]]

    def test_what_the_model_does_not_know_or_link_has_no_score(self) -> None:
        shop = self.shop(["new", *ITEMS])

        scores = shop.strategy.score([shop.query(["c"])], None, shop.view)  # type: ignore[attr-defined]

        np.testing.assert_allclose(scores, [[np.nan, 0.2, np.nan, np.nan, np.nan, 0.3, np.nan]])


class TestSequenceMode(StrategyContract):
    strategy = ItemKnn
    models = (model("sequence"),)

    def test_older_events_count_less_and_repeated_ones_add_up(self) -> None:
        """Newest first: b at 1, a at .6, b again at .36."""
        shop = self.shop(ITEMS)

        ranking = shop.rank(["b", "a", "b"], exclude=["a", "b"])

        assert shop.ids(ranking.rows) == ["c", "d"]
        np.testing.assert_allclose(ranking.scores, [1.36 * 0.4 + 0.6 * 0.2, 0.6 * 0.1], rtol=1e-6)

    @pytest.mark.parametrize(("since", "expected"), [(19, ["e", "a"]), (20, [])])
    def test_only_the_last_twenty_events_are_followed(self, since: int, expected: list[str]) -> None:
        assert self.shop(ITEMS).recommend(["c", *["f"] * since]) == expected

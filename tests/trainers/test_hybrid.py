from math import log2

import numpy as np
import pytest
import torch

from endcap.sdk.errors import InvalidInput, NotFound
from endcap.sdk.features import DAY
from endcap.trainers.hybrid import (
    UNRANKED,
    HybridNetwork,
    HybridTrainingParameters,
    choose_weights,
    ndcg,
    trainer,
)
from endcap.trainers.interactions import Interactions


AS_OF = 1000 * DAY


def quiet(_share: float, _what: str) -> None:
    """Tell nobody."""


def purchases(*events: tuple[str, str, float]) -> Interactions:
    """Build from (user, item, days ago)."""
    users, items, ages = zip(*sorted(events, key=lambda event: -event[2]), strict=True)
    times = [AS_OF - round(age * DAY) for age in ages]
    return Interactions.of_columns(users, items, ["purchase"] * len(events), times, as_of=AS_OF)


def two_tastes_then_more() -> Interactions:
    """Twelve customers of two tastes, each of whom bought half of the taste long ago and the rest lately.

    What sells most in the last week before the last month is of neither taste.
    """
    before = [
        (f"{taste} {user}", f"{taste} {(user + step) % 30}", 90.0 - step)
        for taste in ("tea", "tool")
        for user in range(30)
        for step in range(15)
    ]
    fashion = [(f"passer-by {user}", f"fashion {item}", 32.0) for user in range(3) for item in range(25)]
    after = [
        (f"{taste} {user}", f"{taste} {(user + 15 + step) % 30}", 9.0)
        for taste in ("tea", "tool")
        for user in range(30)
        for step in range(3)
    ]
    return purchases(*before, *fashion, *after)


def test_ndcg_by_hand() -> None:
    """The first case has its two items at ranks 1 and 3, the second its one item beyond what is ranked."""
    scores = np.array([[5, 4, 3, 2], [1, 2, 3, UNRANKED]], np.float32)
    relevant = np.array([[True, False, True, False], [False, True, False, False]])

    first = (1 + 1 / log2(4)) / (1 + 1 / log2(3))
    second = 1 / log2(3)

    assert ndcg(scores, relevant) == pytest.approx((first + second) / 2)


def test_the_base_model_that_ranks_the_targets_first_gets_the_weight() -> None:
    generator = np.random.default_rng(1)
    relevant = generator.random((50, 300)) < 0.02
    relevant[:, 0] = True
    noise = generator.standard_normal((50, 300), np.float32)
    accurate = np.where(relevant, np.float32(3), generator.standard_normal((50, 300), np.float32))

    weights = choose_weights(np.stack([noise, accurate]), relevant)

    assert weights[0] < 0.2 * weights[1]


def test_two_halves_of_the_truth_are_blended() -> None:
    """Each base model lifts one of two relevant items above the crowd, and the other one hides."""
    generator = np.random.default_rng(2)
    relevant = np.zeros((20, 100), np.bool_)
    relevant[:, :2] = True
    z_scores = generator.random((2, 20, 100), np.float32)
    z_scores[0, :, 0], z_scores[0, :, 1] = 5, -1
    z_scores[1, :, 0], z_scores[1, :, 1] = -1, 5

    weights = choose_weights(z_scores, relevant)
    blended = np.tensordot(np.array(weights, np.float32), z_scores, 1)

    assert all(weights)
    assert ndcg(blended, relevant) == pytest.approx(1)


def test_a_base_model_that_misleads_gets_no_weight() -> None:
    generator = np.random.default_rng(3)
    relevant = generator.random((30, 200)) < 0.05
    relevant[:, 0] = True
    noise = generator.standard_normal((2, 30, 200), np.float32)
    z_scores = np.stack([noise[0] + 2 * relevant, noise[1] - 2 * relevant]).astype(np.float32)

    assert choose_weights(z_scores, relevant)[1] == 0


def test_the_graph_adds_up() -> None:
    scores = HybridNetwork([2.0, 0.5])(z_scores=torch.tensor([[[1.0, -1.0]], [[4.0, 2.0]]]))

    assert scores.tolist() == [[4.0, -1.0]]


def test_taste_outweighs_what_sells_when_that_is_how_users_chose() -> None:
    trained = trainer.train(
        two_tastes_then_more(), HybridTrainingParameters(base_models="item_knn popular_week"), quiet
    )

    weights = trained.state["weights"]
    assert list(weights) == ["item_knn", "popular_week"]
    assert weights["item_knn"] > weights["popular_week"] > 0
    metrics = trained.metrics
    assert metrics["validation_ndcg@20"] >= metrics["validation_ndcg@20_item_knn"]
    assert metrics["validation_ndcg@20_item_knn"] > metrics["validation_ndcg@20_popular_week"]


def test_all_base_models_may_need_a_model() -> None:
    trained = trainer.train(
        two_tastes_then_more(), HybridTrainingParameters(base_models="item_knn ease"), quiet
    )

    assert list(trained.state["weights"]) == ["item_knn", "ease"]


def test_a_base_model_must_be_named() -> None:
    with pytest.raises(InvalidInput, match="no base model is named"):
        trainer.train(purchases(("ann", "a", 1.0)), HybridTrainingParameters(base_models=" "), quiet)


def test_a_mistyped_base_model_is_told_before_anything_is_trained() -> None:
    with pytest.raises(NotFound, match="populr"):
        trainer.train(
            purchases(("ann", "a", 1.0)), HybridTrainingParameters(base_models="ease populr"), quiet
        )


def test_there_must_be_something_to_choose_on() -> None:
    with pytest.raises(InvalidInput, match="the snapshot has no sequence of at least three items"):
        trainer.train(purchases(("ann", "a", 1.0)), HybridTrainingParameters(), quiet)


def in_one_week() -> Interactions:
    """Everybody bought four of a taste's items in a row; what comes next is the item after them."""
    return purchases(
        *(
            (f"{taste} {user}", f"{taste} {(user + step) % 12}", 6.0 - step)
            for taste in ("tea", "tool")
            for user in range(12)
            for step in range(4)
        )
    )


def test_a_base_model_that_cannot_be_trained_is_left_out_with_its_reason() -> None:
    trained = trainer.train(
        in_one_week(), HybridTrainingParameters(base_models="next_purchase item_knn"), quiet
    )

    assert list(trained.state["weights"]) == ["item_knn"]
    assert list(trained.state["left_out"]) == ["next_purchase"]
    assert "nobody who had bought before bought anything new" in trained.state["left_out"]["next_purchase"]


def test_one_base_model_at_least_must_be_trained() -> None:
    with pytest.raises(InvalidInput, match="no base model can be trained: nobody who had bought before"):
        trainer.train(in_one_week(), HybridTrainingParameters(base_models="next_purchase"), quiet)


def test_without_a_month_to_set_aside_it_is_everybodys_last_choice() -> None:
    trained = trainer.train(
        in_one_week(), HybridTrainingParameters(base_models="item_knn popular_week"), quiet
    )

    measured = [trained.metrics[f"validation_ndcg@20{of}"] for of in ("_popular_week", "_item_knn", "")]
    assert measured == sorted(measured)
    assert measured[0] < measured[1]

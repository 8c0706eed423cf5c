import numpy as np
import pytest
import torch

from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.trainers.interactions import Interactions
from endcap.trainers.popular import PopularNetwork, PopularTrainingParameters, age_weights, trainer


AS_OF = 1000 * DAY


def purchases(*events: tuple[str, str, float]) -> Interactions:
    """Build from (user, item, days ago)."""
    users, items, ages = zip(*sorted(events, key=lambda event: -event[2]), strict=True)
    times = [AS_OF - round(age * DAY) for age in ages]
    return Interactions.of_columns(users, items, ["purchase"] * len(events), times, as_of=AS_OF)


def test_everybody_within_the_window_counts_alike() -> None:
    weights = age_weights(30, 0)

    # Buckets stand for .5, 2, 5, 10.5, 22, 45, … days.
    np.testing.assert_allclose(weights, [1, 1, 1, 1, 1, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4])


def test_a_user_counts_half_after_the_half_life() -> None:
    weights = age_weights(7, 5)

    np.testing.assert_allclose(weights[:3], [0.5**0.1, 0.5**0.4, 0.5], rtol=1e-6)
    np.testing.assert_allclose(weights[3:], 1e-4)


def test_the_graph_adds_up_users() -> None:
    module = PopularNetwork(np.array([1, 0.5], np.float32))

    scores = module(users_by_age=torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 2.0]]))

    assert scores.tolist() == [3.0, 2.0, 1.0]


def test_the_choice_falls_on_the_window_that_held_what_was_chosen_next() -> None:
    """Twenty-one old favourites fill the list, unless only the last week before the window counts."""
    before = [(f"old{user}", f"favourite{item}", 60.0) for user in range(3) for item in range(21)]
    lately = [("ann", "fashion", 32.0)]
    after = [("old0", "fashion", 3.0), ("old1", "fashion", 2.0)]

    trained = trainer.train(
        purchases(*before, *lately, *after),
        PopularTrainingParameters(choose=True),
        lambda _share, _what: None,
    )

    assert trained.metrics == {"validation_recall@20": 1.0}
    assert trained.state["window_days"] == 7


def test_there_must_be_something_to_choose_on() -> None:
    with pytest.raises(InvalidInput, match="set window_days and half_life_days instead"):
        trainer.train(
            purchases(("ann", "a", 1.0)), PopularTrainingParameters(choose=True), lambda _share, _what: None
        )

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import sparse

from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.trainers import next_purchase
from endcap.trainers.interactions import Interactions
from endcap.trainers.next_purchase import NextPurchaseParameters, TrainingWindow, solve, trainer, windows


AS_OF = 1000 * DAY

Purchase = tuple[str, str, float]
"""User, item, days ago."""


def purchases(events: Sequence[Purchase]) -> Interactions:
    users, items, ages = zip(*sorted(events, key=lambda event: -event[2]), strict=True)
    times = [AS_OF - round(age * DAY) for age in ages]
    return Interactions.of_columns(users, items, ["purchase"] * len(events), times, as_of=AS_OF)


def quiet(_share: float, _what: str) -> None:
    """Tell nobody."""


def test_a_window_holds_what_was_had_and_what_was_new_in_it() -> None:
    """Weeks back from now. Ann has a, then buys it again, and b; later c. Bob comes in late."""
    interactions = purchases(
        [("ann", "a", 17), ("ann", "a", 10), ("ann", "b", 9), ("ann", "c", 2), ("bob", "a", 3)]
    )
    parameters = NextPurchaseParameters(
        window_days=7, windows=2, window_half_life_days=7, history_half_life_days=3
    )

    latest, earlier = windows(interactions, parameters)

    # Seven days ago a was three days old, a half-life, and b two.
    np.testing.assert_allclose(
        latest.history.toarray(), [[0.5, 0.5 ** (2 / 3), 0.0], [0.0, 0.0, 0.0]], rtol=1e-5
    )
    np.testing.assert_array_equal(latest.bought.toarray(), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(earlier.history.toarray(), [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]], rtol=1e-5)
    np.testing.assert_array_equal(earlier.bought.toarray(), [[0, 1, 0], [0, 0, 0]])
    assert (latest.weight, earlier.weight) == pytest.approx((0.5, 0.25))


def test_two_items_by_hand() -> None:
    """Three who had the first item, two of whom bought the second: 2 / (3 + λ), with λ = 1."""
    history = sparse.csr_array(np.array([[1, 0], [1, 0], [1, 0]], np.float32))
    bought = sparse.csr_array(np.array([[0, 1], [0, 1], [1, 0]], np.float32))

    weights = solve([TrainingWindow(history, bought, weight=1)], 1.0)

    np.testing.assert_allclose(weights, [[1 / 4, 2 / 4], [0.0, 0.0]], rtol=1e-6)


def test_who_stayed_away_says_nothing() -> None:
    history = sparse.csr_array(np.array([[1, 0], [1, 0]], np.float32))
    bought = sparse.csr_array(np.array([[0, 1], [0, 0]], np.float32))

    weights = solve([TrainingWindow(history, bought, weight=1)], 1.0)

    np.testing.assert_allclose(weights, [[0.0, 1 / 2], [0.0, 0.0]], rtol=1e-6)


def test_it_is_the_weighted_ridge_regression_of_what_followed() -> None:
    generator = np.random.default_rng(4)
    found = [
        TrainingWindow(
            sparse.csr_array(generator.random((20, 6)) * (generator.random((20, 6)) < 0.5)),
            sparse.csr_array((generator.random((20, 6)) < 0.9).astype(np.float32)),
            weight,
        )
        for weight in (1.0, 0.25)
    ]

    weights = solve(found, 3.0)

    # Ridge regression is least squares with √λ more rows, a row of weight w scaled by √w.
    rows = np.concatenate([w.weight**0.5 * w.history.toarray() for w in found] + [3**0.5 * np.eye(6)])
    targets = np.concatenate([w.weight**0.5 * w.bought.toarray() for w in found] + [np.zeros((6, 6))])
    expected, *_ = np.linalg.lstsq(rows, targets, rcond=None)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)


def test_what_follows_is_offered_and_not_what_went_before() -> None:
    """Everybody buys a cradle and two weeks later a cot."""
    events = [
        purchase
        for user in range(10)
        for purchase in ((f"{user}", "cradle", 40.0 - 2 * user), (f"{user}", "cot", 26.0 - 2 * user))
    ]

    parameters = NextPurchaseParameters(regularization=1, window_days=14, window_half_life_days=0)
    trained = trainer.train(purchases(events), parameters, quiet)
    scores = trained.module(rows=torch.tensor([0, 1]), weights=torch.eye(2))

    cot, cradle = trained.item_ids.index("cot"), trained.item_ids.index("cradle")
    assert scores[cradle, cot] > 0.1
    assert scores[cot, cradle] == pytest.approx(0)


def test_without_a_purchase_that_followed_there_is_nothing_to_learn() -> None:
    with pytest.raises(InvalidInput, match="set 'windows'"):
        trainer.train(purchases([("ann", "a", 3), ("bob", "b", 300)]), NextPurchaseParameters(), quiet)


def test_more_items_than_a_file_holds_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_purchase, "MAXIMUM_ITEMS", 1)

    with pytest.raises(InvalidInput, match="train matrix_factorization instead"):
        trainer.train(purchases([("ann", "a", 3), ("ann", "b", 1)]), NextPurchaseParameters(), quiet)

"""What counts as a positive: type, rating and quantity, worked by hand."""

import json
from math import log

import numpy as np
import pytest

from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.positives import QUANTITY_DAMPING, Positives, weigh_pairs


def fit(*events: tuple[str, float], weights: dict[str, float] | None = None) -> Positives:
    """Fit to (type, value)."""
    types, values = zip(*events, strict=True)
    return Positives.fit(np.array(types), np.array(values, np.float32), weights or EVENT_WEIGHTS)


def weigh(positives: Positives, *events: tuple[str, float]) -> list[float]:
    types, values = zip(*events, strict=True)
    weights: list[float] = positives.weigh(np.array(types), np.array(values, np.float32)).tolist()
    return weights


def test_events_of_one_type_weigh_one_whatever_its_weight() -> None:
    assert weigh(fit(("view", np.nan)), ("view", np.nan), ("other", 1)) == [1, 0]
    assert weigh(fit(("purchase", 1)), ("purchase", 1), ("view", 1)) == pytest.approx([1, 0.2])


def test_the_events_that_are_learned_from_weigh_one_on_average() -> None:
    """Three views of weight 1 and one purchase of weight 5: 2 on average."""
    positives = fit(*[("view", 1.0)] * 3, ("purchase", 1))

    assert weigh(positives, ("view", 1), ("purchase", 1)) == [0.5, 2.5]


def test_low_ratings_speak_against_an_item_and_a_neutral_one_says_nothing() -> None:
    positives = fit(("rating", 1), ("rating", 5))
    ratings = [("rating", value) for value in (1, 2, 3, 4, 5, np.nan)]

    assert weigh(positives, *ratings) == [-1, -0.5, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("ratings", "scale"),
    [
        ((4, 5), (1, 5)),
        ((0, 5), (0, 5)),
        ((2, 10), (1, 10)),
        ((0, 80), (0, 100)),
        ((0, 1), (0, 1)),
        ((-1, 1), (-1, 1)),
        ((1,), (1, 5)),
    ],
)
def test_the_scale_of_ratings_is_guessed_from_them(
    ratings: tuple[float, ...], scale: tuple[float, float]
) -> None:
    positives = fit(*[("rating", rating) for rating in ratings])

    assert (positives.lowest_rating, positives.highest_rating) == scale


def test_ten_pieces_count_a_little_more_than_one() -> None:
    weights = weigh(fit(("purchase", 1)), ("purchase", 1), ("purchase", 10), ("purchase", 0))

    assert weights == pytest.approx([1, 1 + QUANTITY_DAMPING * log(10), 1])


def test_a_type_of_negative_weight_always_joins_those_that_are_trusted() -> None:
    events = [("purchase", 1.0)] * 1_000 + [("view", 1.0), ("refund", 1.0)]

    assert fit(*events, weights={**EVENT_WEIGHTS, "refund": -5}).trusted == ("purchase", "refund")


def test_the_definition_survives_json() -> None:
    positives = fit(("rating", 1), ("view", 1))
    state = json.loads(json.dumps({"positives": positives.to_json()}))

    assert Positives.of_state(state, {}) == positives
    assert Positives.of_state({}, {"view": 1, "purchase": 4}).weights == {"view": 0.25, "purchase": 1}


def test_evidence_for_and_against_an_item_adds_up_once_each() -> None:
    """Item 0 was chosen three times, item 1 chosen and then sent back, item 2 disliked."""
    pairs = weigh_pairs(
        np.zeros(6, np.int64),
        np.array([0, 1, 0, 1, 0, 2], np.int32),
        np.array([1, 1, 2, -1, 1, -1], np.float32),
        np.arange(6),
    )

    assert pairs.rows.tolist() == [0, 2]
    assert pairs.weights.tolist() == [2, -1]
    assert pairs.times.tolist() == [4, 5]

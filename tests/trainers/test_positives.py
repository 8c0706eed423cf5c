"""A shop with views, carts, purchases and ratings: every model learns and answers by the same evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from endcap.sdk import Eligibility, EventColumns, History, NoParameters, Query, Task, Vocabulary, build_view
from endcap.sdk.features import DAY
from endcap.sdk.parameters import read_parameters
from endcap.sdk.testing import FakeModel, FakeResources
from endcap.strategies.content import Content
from endcap.strategies.ease import Ease
from endcap.strategies.item_knn import ItemKnn
from endcap.strategies.matrix_factorization import MatrixFactorization
from endcap.strategies.next_purchase import NextPurchase
from endcap.trainers.interactions import Interactions
from endcap.trainers.training import find_trainer


AS_OF = 1000 * DAY
BOWL, _, CUP, _, TEA, _ = range(6)
"""The rows of ``bowl 1``, ``cup 1`` and ``tea 1``."""

STRATEGIES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "item_knn": (ItemKnn, {"mode": "basket"}),
    "item_knn in sequences": (ItemKnn, {"mode": "sequence"}),
    "ease": (Ease, {"regularization": 1.0}),
    "matrix_factorization": (MatrixFactorization, {"embedding_size": 4, "regularization": 3.0}),
    "next_purchase": (NextPurchase, {"regularization": 1.0}),
    "content": (Content, {"embedding_size": 4, "steps": 150}),
}

Happening = tuple[str, str, str, float, float]
"""User, item, event type, value, days ago."""


def shop(*happenings: Happening) -> Interactions:
    users, items, types, values, ages = zip(*sorted(happenings, key=lambda each: -each[4]), strict=True)
    times = [AS_OF - round(age * DAY) for age in ages]
    found = Interactions.of_columns(users, items, types, times, as_of=AS_OF, values=values)
    return replace(found, items=replace(found.items, titles=found.item_ids))


def customers(*, first: str = "purchase", second: str = "purchase", value: float = 1) -> list[Happening]:
    """Return twelve customers who chose both teas, then both cups in one way and bowls in another."""
    happenings: list[Happening] = []
    for number in range(12):
        name, other = f"user {number:02}", f"user {(number + 6) % 12:02}"
        happenings += [(name, f"tea {place}", "purchase", 1, 20 + place) for place in (1, 2)]
        happenings += [(name, f"cup {place}", first, value, 2 + place / 4) for place in (1, 2)]
        if number % 2:
            happenings += [(other, f"bowl {place}", second, 1, 3 + place / 4) for place in (1, 2)]
    return happenings


def score(
    name: str, interactions: Interactions, kind: str = "purchase", value: float = 1
) -> NDArray[np.float32]:
    """Train a model and return its scores for a history of one event."""
    strategy, values = STRATEGIES[name]
    trainer = find_trainer(name.split(maxsplit=1)[0])
    torch.manual_seed(0)
    trained = trainer.train(interactions, read_parameters(trainer.parameters, values), lambda *_: None)

    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            tensors = {key: torch.from_numpy(np.ascontiguousarray(given)) for key, given in inputs.items()}
            (output,) = trained.outputs
            return {output: trained.module(**tensors).numpy()}

    model = FakeModel(trainer.name, Vocabulary(trained.item_ids), run, trained.state)
    view = build_view(interactions.items, EventColumns.none(), version="1", as_of=AS_OF)
    history = History(
        np.array([TEA], np.int32),
        np.array([kind]),
        np.array([AS_OF - DAY]),
        np.array([value], np.float32),
    )
    query = Query(Task.FOR_YOU, 6, AS_OF, Eligibility(view.available), history)
    parameters = NoParameters()
    scores: NDArray[np.float32] = strategy(FakeResources([model]), parameters).score([query], None, view)[0]
    return scores


def mixed(cups: str, bowls: str) -> Interactions:
    """Return twelve customers who bought teas; every second chose cups in one way and bowls in another."""
    kinds = {"tea": "purchase", "cup": cups, "bowl": bowls}
    return shop(
        *(
            (f"user {number:02}", f"{item} {place}", kind, 1, 20 if item == "tea" else 2)
            for number in range(12)
            for item, kind in kinds.items()
            for place in (1, 2)
            if item == "tea" or number % 2
        )
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_views_are_weaker_evidence_than_purchases(name: str) -> None:
    cups_bought = score(name, mixed(cups="purchase", bowls="view"))
    bowls_bought = score(name, mixed(cups="view", bowls="purchase"))

    assert not np.allclose(cups_bought, bowls_bought, atol=1e-3)
    if name != "content":  # whose few steps here follow the words of the items more than the weights
        assert cups_bought[CUP] - cups_bought[BOWL] > bowls_bought[CUP] - bowls_bought[BOWL] + 1e-3


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_lowest_rating_lowers_an_item_that_the_highest_lifts(name: str) -> None:
    liked = score(name, shop(*customers(first="rating", value=5)))
    disliked = score(name, shop(*customers(first="rating", value=1)))

    # An item without a score is not recommended at all.
    assert np.nan_to_num(disliked[CUP], nan=-np.inf) < liked[CUP] - 1e-3


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_user_who_disliked_an_item_is_led_away_from_what_goes_with_it(name: str) -> None:
    liked, disliked = (score(name, shop(*customers()), "rating", value) for value in (5, 1))

    # An item without a score is not recommended at all.
    assert np.nan_to_num(disliked[CUP], nan=-np.inf) < liked[CUP] - 1e-3


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - {"content"}))
def test_many_pieces_count_more_than_one(name: str) -> None:
    """A cosine, as of content, does not depend on the weight of a single event."""
    one, many = (score(name, shop(*customers()), "purchase", pieces) for pieces in (1, 1000))
    sold = score(name, shop(*customers(value=1000)))

    assert many[CUP] > one[CUP]
    assert not np.allclose(sold, one, atol=1e-5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_views_still_count_beside_a_single_purchase(name: str) -> None:
    views: Sequence[Happening] = [
        (user, item, "view", value, age) for user, item, _, value, age in customers() if "bowl" not in item
    ]
    scores = score(name, shop(*views, ("user 00", "bowl 1", "purchase", 1, 5), ("x", "bowl 2", "view", 1, 9)))

    assert scores[CUP] > np.nan_to_num(scores)[BOWL + 1] + 1e-3

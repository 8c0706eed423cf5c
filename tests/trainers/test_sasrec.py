import numpy as np
import pytest
import torch

from endcap.sdk.errors import InvalidInput
from endcap.trainers.interactions import Interactions
from endcap.trainers.sasrec import SasrecNetwork, SasrecParameters, trainer
from endcap.trainers.trainer import TrainedModel


SMALL = SasrecParameters(embedding_size=16, dropout=0.1, epochs=12, batch_size=128, negatives=64, length=6)

ITEMS = 40


def quiet(_share: float, _what: str) -> None:
    """Tell nobody."""


def circle() -> Interactions:
    """Two hundred users walk round a circle of forty items, each from another start, for eight steps."""
    users = np.repeat(np.arange(200), 8)
    steps = np.tile(np.arange(8), 200)
    items = (users + steps) % ITEMS
    order = np.argsort(steps, kind="stable")
    return Interactions.of_columns(
        [f"{user:03}" for user in users[order]],
        [f"{item:02}" for item in items[order]],
        ["purchase"] * len(users),
        steps[order].tolist(),
        as_of=10,
    )


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return trainer.train(circle(), SMALL, quiet)


def test_it_learns_what_follows_what(trained: TrainedModel) -> None:
    starts = torch.arange(ITEMS)
    histories = torch.stack([starts, (starts + 1) % ITEMS], dim=1)

    with torch.inference_mode():
        best = trained.module(histories).argmax(dim=1)

    assert (best == (starts + 2) % ITEMS).float().mean() >= 0.9


def test_padding_changes_no_score(trained: TrainedModel) -> None:
    with torch.inference_mode():
        bare = trained.module(torch.tensor([[3, 4]]))
        padded = trained.module(torch.tensor([[ITEMS, ITEMS, 3, 4]]))

    np.testing.assert_allclose(padded, bare, rtol=1e-4, atol=1e-5)


def test_later_items_change_no_earlier_state() -> None:
    torch.manual_seed(0)
    network = SasrecNetwork(ITEMS, SMALL, dropout=0.5).eval()

    with torch.inference_mode():
        here = network.states(torch.tensor([[1, 2, 3, 4]]))
        there = network.states(torch.tensor([[1, 2, 7, 0]]))

    np.testing.assert_allclose(here[:, :2], there[:, :2], rtol=1e-5, atol=1e-6)
    assert not np.allclose(here[:, 2], there[:, 2])


def test_the_order_of_a_history_changes_its_scores(trained: TrainedModel) -> None:
    with torch.inference_mode():
        forwards, backwards = trained.module(torch.tensor([[3, 4], [4, 3]]))

    assert not np.allclose(forwards, backwards, atol=1e-3)


def test_heads_must_divide_the_embedding_size() -> None:
    with pytest.raises(InvalidInput, match="3 heads do not divide an embedding size of 16"):
        trainer.train(circle(), SasrecParameters(embedding_size=16, heads=3), quiet)


def test_users_who_chose_one_item_each_teach_nothing() -> None:
    interactions = Interactions.of_columns(["ann", "bob"], ["a", "b"], ["purchase"] * 2, [1, 2], as_of=2)

    with pytest.raises(InvalidInput, match="nothing follows anything"):
        trainer.train(interactions, SMALL, quiet)

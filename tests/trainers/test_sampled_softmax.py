import math

import pytest
import torch
from torch.nn import functional

from endcap.trainers.sampled_softmax import sampled_softmax


def test_two_items_by_hand() -> None:
    """The state points to item 0: cosines 1 and 0, at temperature 0.5 the scores 2 and 0."""
    loss = sampled_softmax(
        torch.tensor([[3.0, 0.0]]),
        torch.tensor([0]),
        torch.tensor([[2.0, 0.0], [0.0, 5.0]]),
        negatives=2,
        temperature=0.5,
        generator=torch.Generator(),
    )

    assert loss.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 1)))


def test_many_samples_give_the_exact_softmax_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    states, items = torch.randn(20, 8, generator=generator), torch.randn(500, 8, generator=generator)
    targets = torch.randint(0, 500, (20,), generator=generator)

    def loss(negatives: int) -> float:
        return sampled_softmax(
            states, targets, items, negatives=negatives, temperature=0.5, generator=generator
        ).item()

    sampled = sum(loss(400) for _ in range(200)) / 200

    exact = functional.cross_entropy(
        functional.normalize(states) @ functional.normalize(items).T / 0.5, targets
    ).item()
    assert sampled == pytest.approx(exact, abs=0.01)
    assert loss(500) == pytest.approx(exact, abs=1e-5)


def test_a_target_that_is_drawn_is_no_negative() -> None:
    """One item of two is drawn; drawn or not, the target never counts against itself."""
    item = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    losses = {
        round(
            sampled_softmax(
                item[:1],
                torch.tensor([0]),
                item,
                negatives=1,
                temperature=1.0,
                generator=torch.Generator().manual_seed(seed),
            ).item(),
            4,
        )
        for seed in range(20)
    }

    # Alone the target has probability 1; beside the other, which stands for two items, 1 / (1 + 2).
    assert losses == {0.0, round(math.log(3), 4)}

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from endcap.trainers.fitting import Fitted, fit


class Point(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))


def quiet(_share: float, _what: str) -> None:
    """Tell nobody."""


def train(
    module: Point, validation: Sequence[float] | None, *, epochs: int = 10, max_minutes: float = 1.0
) -> tuple[Fitted, list[float]]:
    """Move the point to 1 and return where it was after each epoch."""
    places: list[float] = []

    def loss(target: float) -> Tensor:
        return (module.place - target).square().sum()

    def validate() -> float:
        assert not module.training
        places.append(module.place.item())
        return validation[len(places) - 1] if validation else 0.0

    fitted = fit(
        module,
        lambda: [1.0, 1.0],
        loss,
        epochs=epochs,
        learning_rate=0.1,
        weight_decay=0.0,
        patience=2,
        max_minutes=max_minutes,
        validate=validate if validation else None,
        progress=quiet,
    )
    return fitted, places


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    module = Point()

    fitted, places = train(module, [0.1, 0.3, 0.2, 0.2])

    assert fitted.best_epoch == 2
    assert fitted.validation == (0.1, 0.3, 0.2, 0.2)
    assert module.place.item() == places[1]


def test_training_stops_after_epochs_without_a_gain() -> None:
    fitted, _ = train(Point(), [0.5, 0.4, 0.4, 0.9])

    assert len(fitted.losses) == 3


def test_training_stops_when_its_time_is_spent() -> None:
    fitted, _ = train(Point(), None, max_minutes=0.0)

    assert len(fitted.losses) == 1
    assert fitted.best_epoch == 1


def test_without_validation_the_last_epoch_is_kept() -> None:
    module = Point()

    fitted, _ = train(module, None, epochs=30)

    assert fitted.best_epoch == 30
    assert fitted.losses[-1] < fitted.losses[0]

"""The training loop of every neural model."""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from torch.optim import AdamW

from endcap.trainers.trainer import Progress


Batch = TypeVar("Batch")

GRADIENT_NORM = 1.0
"""A longer gradient is shortened to this."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The course of a training. The module has the weights of the best epoch."""

    best_epoch: int
    """Counted from 1."""

    losses: tuple[float, ...]
    """The mean loss of each epoch."""

    validation: tuple[float, ...]
    """The validation metric after each epoch; empty if there was none."""


def fit(
    module: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    patience: int,
    max_minutes: float,
    validate: Callable[[], float] | None,
    progress: Progress,
) -> Fitted:
    """Train a module by AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019).

    Vectors, such as biases and the scales of a normalisation, do not decay.

    Args:
        module: Trained in place.
        batches: Makes the batches of one epoch.
        loss: Returns the mean loss of a batch.
        epochs: At most this many.
        learning_rate: The length of a step.
        weight_decay: Higher shrinks weights towards zero.
        patience: Training stops after this many epochs in a row without a better validation metric.
        max_minutes: Training stops after the epoch in which this time is spent.
        validate: Returns the metric, higher is better, of the module in evaluation mode; None takes the last
            epoch.
        progress: Told of each epoch.
    """
    decayed = [weights for weights in module.parameters() if weights.ndim > 1]
    others = [weights for weights in module.parameters() if weights.ndim <= 1]
    optimizer = AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
    )
    deadline = time.monotonic() + 60 * max_minutes
    losses: list[float] = []
    validation: list[float] = []
    best_epoch, best_weights = 0, module.state_dict()
    for epoch in range(1, epochs + 1):
        module.train()
        losses.append(_train_epoch(module, batches(), loss, optimizer))
        module.eval()
        message = f"epoch {epoch}, loss {losses[-1]:.3f}"
        if validate is not None:
            validation.append(validate())
            message += f", validation ndcg@10 {validation[-1]:.4f}"
        progress(epoch / epochs, message)
        # Between equals the later epoch is taken: a few held-out users may be served perfectly early on.
        if not validation or validation[-1] == max(validation):
            best_epoch, best_weights = epoch, copy.deepcopy(module.state_dict())
        if epoch - best_epoch >= patience or time.monotonic() > deadline:
            break
    module.load_state_dict(best_weights)
    return Fitted(best_epoch, tuple(losses), tuple(validation))


def _train_epoch(
    module: nn.Module, batches: Iterable[Batch], loss: Callable[[Batch], Tensor], optimizer: AdamW
) -> float:
    losses = []
    for batch in batches:
        value = loss(batch)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
        optimizer.step()
        losses.append(value.item())
    return sum(losses) / max(len(losses), 1)

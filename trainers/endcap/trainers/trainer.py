"""The trainer's side: interactions in; out comes a PyTorch module with all that its export needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from torch import nn

from endcap.sdk import TensorSpec
from endcap.trainers.interactions import Interactions


Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done now."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A module in evaluation mode, and what its bundle says about it."""

    module: nn.Module
    """Takes the inputs by name."""

    inputs: Mapping[str, TensorSpec]
    """The arguments of the module, by name."""

    outputs: Mapping[str, TensorSpec]
    """The tensors that the module returns, by name: one, or a tuple of them in this order."""

    item_ids: tuple[str, ...]
    """The items behind the module's rows."""

    state: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that the strategy needs beside the graph."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """The metrics of the training, by name."""


class Trainer(Protocol):
    """Trains the model of the strategy of the same name; an entry point of ``endcap.trainers`` names it."""

    name: str
    """The strategy's name."""

    parameters: type[Any]
    """A frozen dataclass whose fields are made by ``endcap.sdk.parameter``."""

    def train(self, interactions: Interactions, parameters: Any, progress: Progress) -> TrainedModel:
        """Train a model.

        Args:
            interactions: What there is to learn from.
            parameters: An instance of ``parameters``.
            progress: Told how far the training is.

        Raises:
            InvalidInput: The parameters do not suit the interactions.
        """

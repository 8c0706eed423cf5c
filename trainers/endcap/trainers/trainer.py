"""The trainer's side: interactions in; out comes a PyTorch module with all that its export needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from endcap.trainers.interactions import Interactions


Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done now."""

Inputs: TypeAlias = dict[str, NDArray[Any]]
"""The arguments of one call of a module, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A module in evaluation mode, and what its bundle says about it."""

    module: nn.Module
    """Takes the inputs by name and returns one tensor."""

    axes: Mapping[str, tuple[str | None, ...]]
    """For every input a name a dimension: equal names are equal lengths, None is a fixed length."""

    sample_inputs: Callable[[np.random.Generator, int], Inputs]
    """Makes random inputs whose free dimensions are about as long as the number says."""

    item_ids: tuple[str, ...]
    """The items behind the module's rows."""

    output: str = "scores"
    """The name of the tensor in the graph."""

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

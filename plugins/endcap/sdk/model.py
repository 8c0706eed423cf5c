"""A trained model, as a strategy sees it: named NumPy arrays in and out."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from endcap.sdk.vocabulary import Vocabulary


Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by name."""


class Model(Protocol):
    """One bundle, loaded. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """The model's name in its shop: ``ease``."""

    @property
    def version(self) -> str:
        """The bundle's version."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The item ids behind the model's rows."""

    @property
    def state(self) -> Mapping[str, Any]:
        """JSON values that the trainer recorded for the strategy."""

    def run(self, inputs: Tensors) -> Tensors:
        """Run the graph.

        Raises:
            InvalidInput: An input is missing, unknown, or has the wrong type or rank.
        """

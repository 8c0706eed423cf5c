"""A trained model that PyTorch runs, for what is not worth an export to ONNX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endcap.sdk import Tensors, TensorSpec, Vocabulary
from endcap.trainers.parity import run_module
from endcap.trainers.trainer import TrainedModel


@dataclass(frozen=True, slots=True, eq=False)
class UnexportedModel:
    """The ``Model`` protocol over a module."""

    name: str
    vocabulary: Vocabulary
    trained: TrainedModel
    version: str = "unexported"

    @property
    def state(self) -> Mapping[str, Any]:
        """The state that the trainer recorded."""
        return self.trained.state

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The arguments of the module."""
        return self.trained.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The tensors that the module returns."""
        return self.trained.outputs

    def run(self, inputs: Tensors) -> Tensors:
        """Run the module."""
        return run_module(self.trained, inputs)

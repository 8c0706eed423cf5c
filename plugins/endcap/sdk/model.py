"""A trained model, as a strategy sees it: named NumPy arrays in and out, declared by ``TensorSpec``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.errors import InvalidInput
from endcap.sdk.vocabulary import Vocabulary


Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by name."""

DTYPES = ("bool", "float16", "float32", "float64", "int32", "int64")
"""The element types that a graph may take and give."""


class Role(StrEnum):
    """The meaning of a tensor's numbers; the range that they must keep follows from it."""

    ITEMS = "items"
    """Rows of the vocabulary; an integer below 0 or beyond the last row is rejected."""

    CODES = "codes"
    """Integers from 0 to ``size - 1``: terms, event types, gaps of time."""

    VALUES = "values"
    """Quantities, such as weights, counts, prices and scores."""

    MASK = "mask"
    """Booleans."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The declaration of one input or output of a graph."""

    axes: tuple[str | int, ...]
    """One entry a dimension: a length that is fixed, or a name; equal names are equal lengths."""

    dtype: str
    """One of ``DTYPES``."""

    role: Role

    size: int | None = None
    """The number of codes; None for every other role."""

    padding: bool = False
    """Whether entries may be missing: the row ``len(vocabulary)`` among items, NaN among values."""

    def __post_init__(self) -> None:
        """Check that the parts go together.

        Raises:
            InvalidInput: An axis is neither a name nor a length, the type is not one of ``DTYPES``, or the
                type, the size or the padding does not suit the role.
        """
        if not all(_is_axis(axis) for axis in self.axes):
            raise InvalidInput(f"the axes {self.axes} must be names, or lengths of at least 0")
        if self.dtype not in DTYPES:
            raise InvalidInput(f"the type {self.dtype!r} is not supported: use one of {', '.join(DTYPES)}")
        if not _suits(self.dtype, self.role):
            raise InvalidInput(f"a tensor of {self.role} cannot be {self.dtype}: use {_KINDS[self.role]}")
        counted = isinstance(self.size, int) and self.size >= 1
        if counted is not (self.role is Role.CODES) or not (counted or self.size is None):
            raise InvalidInput("codes need a size of at least 1, and no other role takes one")
        if self.padding and (self.role is not Role.ITEMS and np.dtype(self.dtype).kind != "f"):
            raise InvalidInput("only items, and values that are floats, can be padded")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a declaration from a manifest's JSON value.

        Raises:
            InvalidInput: The parts do not go together.
        """
        return cls(**{**values, "axes": tuple(values["axes"]), "role": Role(values["role"])})


_KINDS: Mapping[Role, str] = {
    Role.ITEMS: "integers",
    Role.CODES: "integers",
    Role.VALUES: "numbers",
    Role.MASK: "bool",
}


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

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The inputs of the graph, by name."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The outputs of the graph, by name."""

    def run(self, inputs: Tensors) -> Tensors:
        """Run the graph.

        Raises:
            InvalidInput: An input is missing or unknown, or does not keep its declaration: it has the wrong
                type or shape, or holds a number out of range.
        """


def _is_axis(axis: object) -> bool:
    if isinstance(axis, str):
        return bool(axis)
    return isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0


def _suits(dtype: str, role: Role) -> bool:
    kind = np.dtype(dtype).kind
    return {Role.MASK: kind == "b", Role.VALUES: kind != "b"}.get(role, kind == "i")

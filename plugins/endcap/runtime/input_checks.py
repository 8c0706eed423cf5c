"""Checks of what a graph is given, by the declarations of its inputs.

A graph checks nothing itself: its Gather wraps a negative row silently, and its axes take any length.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import Model, Role, Tensors, TensorSpec
from endcap.sdk.errors import InvalidInput


def check_inputs(model: Model, inputs: Tensors) -> None:
    """Check the inputs of one run.

    Raises:
        InvalidInput: An input is missing or unknown, or has the wrong type or rank, or a length that another
            input contradicts, or holds a number out of range.
    """
    if inputs.keys() != model.inputs.keys():
        raise InvalidInput(
            f"model {model.name!r} takes the inputs {', '.join(sorted(model.inputs))}, not"
            f" {', '.join(sorted(inputs)) or 'none'}"
        )
    lengths: dict[str, int] = {}
    for name, spec in model.inputs.items():
        flaw = (
            _type_flaw(inputs[name], spec)
            or _shape_flaw(inputs[name], spec, lengths)
            or _range_flaw(inputs[name], spec, len(model.vocabulary))
        )
        if flaw:
            raise InvalidInput(f"input {name!r} of model {model.name!r} must {flaw}")


def _type_flaw(array: NDArray[Any], spec: TensorSpec) -> str:
    return "" if array.dtype == spec.dtype else f"be {spec.dtype}, not {array.dtype}"


def _shape_flaw(array: NDArray[Any], spec: TensorSpec, lengths: dict[str, int]) -> str:
    """Compare the lengths with those of the inputs before, and note the new ones."""
    if array.ndim != len(spec.axes):
        return f"have the axes {spec.axes}, not the shape {array.shape}"
    for axis, length in zip(spec.axes, array.shape, strict=True):
        expected = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if length != expected:
            return f"have the axes {spec.axes} with {axis} = {expected}, not the shape {array.shape}"
    return ""


def _range_flaw(array: NDArray[Any], spec: TensorSpec, item_count: int) -> str:
    if not array.size or spec.role is Role.MASK:
        return ""
    lowest = array.min()
    if spec.role is Role.VALUES:
        # The least of numbers of which one is NaN is NaN.
        return "not hold NaN" if np.isnan(lowest) and not spec.padding else ""
    if lowest < 0:
        return "not be negative"
    count, what = _count(spec, item_count)
    return "" if array.max() < count else f"hold {what} below {count}"


def _count(spec: TensorSpec, item_count: int) -> tuple[int, str]:
    if spec.size is not None:
        return spec.size, "codes"
    return item_count + spec.padding, "rows"

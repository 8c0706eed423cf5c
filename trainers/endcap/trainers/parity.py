"""The parity gate: an exported graph is refused unless it gives the numbers of its PyTorch module.

Both get inputs that are drawn from the declared ``TensorSpec``, whose free axes take every combination of
``LENGTHS``: single queries and batches, empty histories, short ones and long ones. In a row of an input there
is no zero or padding, some, or nothing else: a weight of 0, a missing price, an empty history.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from endcap.sdk import Model, Role, Tensors, TensorSpec
from endcap.sdk.errors import BundleRefused, EndcapError
from endcap.trainers.trainer import TrainedModel


LENGTHS = (0, 1, 2, 7, 64, 200)
"""The lengths that every free axis takes, each beside each of every other axis."""

SEEDS = (0, 1)

RELATIVE_TOLERANCE = 1e-4
ROUNDING = 1e-5
"""Largest differences between the two outputs: of a number, and in units of the largest number of its row, or
of ``SMALLEST_UNIT``. Sums in another order differ by rounding, by more than a number that they cancel to."""

SMALLEST_UNIT = 0.1

HEAD = 10
TIE = 2 * ROUNDING
"""Scores that differ by less, in the same units, may change places among the ``HEAD`` best."""


def check_parity(trained: TrainedModel, model: Model) -> None:
    """Refuse a graph whose outputs differ from the module's.

    Raises:
        BundleRefused: The outputs differ by more than rounding, in shape, or in their best ten; an output is
            not finite; or an input of some length makes either fail.
    """
    axes = free_axes(trained.inputs)
    for seed, lengths in product(SEEDS, product(LENGTHS, repeat=len(axes))):
        sizes = dict(zip(axes, lengths, strict=True))
        inputs = draw_inputs(
            trained.inputs, sizes, len(trained.item_ids), np.random.default_rng([seed, *lengths])
        )
        where = " and ".join(f"{axis} = {length}" for axis, length in sizes.items())
        flaw = _flaw(trained, model, inputs)
        if flaw:
            raise BundleRefused(
                f"the exported {model.name} {flaw}, with {where}: do not use it, and report how it was"
                " trained"
            )


def free_axes(specs: Mapping[str, TensorSpec]) -> list[str]:
    """Return the names of the axes whose lengths are free, each once."""
    return list(dict.fromkeys(axis for spec in specs.values() for axis in spec.axes if isinstance(axis, str)))


def draw_inputs(
    specs: Mapping[str, TensorSpec],
    lengths: Mapping[str, int],
    item_count: int,
    generator: np.random.Generator,
) -> Tensors:
    """Draw inputs that the declarations allow.

    Args:
        specs: The inputs, by name.
        lengths: The length of each free axis.
        item_count: How many items the vocabulary holds.
        generator: What is drawn from.
    """
    return {
        name: _draw(
            spec,
            tuple(axis if isinstance(axis, int) else lengths[axis] for axis in spec.axes),
            item_count,
            generator,
        )
        for name, spec in specs.items()
    }


def run_module(trained: TrainedModel, inputs: Tensors) -> Tensors:
    """Return the outputs of the module in PyTorch, by name."""
    with torch.inference_mode():
        given = trained.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    tensors = given if isinstance(given, tuple) else (given,)
    return {name: tensor.numpy() for name, tensor in zip(trained.outputs, tensors, strict=True)}


def _draw(
    spec: TensorSpec, shape: tuple[int, ...], item_count: int, generator: np.random.Generator
) -> NDArray[np.generic]:
    if spec.role is Role.MASK:
        return _some(shape, generator)
    array: NDArray[Any]
    if spec.role is Role.VALUES:
        # Over several magnitudes, for a graph may take logarithms or compare with a price.
        array = np.where(_some(shape, generator), 0, generator.lognormal(0, 1, shape))
    else:
        array = generator.integers(0, spec.size or item_count, shape)
    if spec.padding:
        missing = np.nan if spec.role is Role.VALUES else item_count
        array = np.where(_some(shape, generator), missing, array)
    return array.astype(spec.dtype)


def _some(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Choose entries: in each row none, some or all of them."""
    a_row = (*shape[:-1], 1) if shape else ()
    return np.asarray(generator.random(shape) < generator.choice([0, 0.3, 1], a_row, p=[0.4, 0.4, 0.2]))


def _flaw(trained: TrainedModel, model: Model, inputs: Tensors) -> str:
    """Say how the graph falls short of the module, or nothing."""
    try:
        expected = run_module(trained, inputs)
    except Exception as error:
        raise BundleRefused(
            f"the module of {model.name} takes no inputs of the lengths"
            f" {', '.join(str(array.shape) for array in inputs.values())}: declare as numbers the axes whose"
            " lengths are fixed"
        ) from error
    try:
        actual = model.run(inputs)
    except EndcapError:
        return "fails"
    flaws = (_difference(name, expected[name], actual[name]) for name in trained.outputs)
    return next(filter(None, flaws), "")


def _difference(name: str, expected: NDArray[np.generic], actual: NDArray[np.generic]) -> str:
    if actual.shape != expected.shape:
        return f"gives {name} of shape {actual.shape} where PyTorch gives {expected.shape}"
    if not expected.size:
        return ""
    if not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        return f"gives {name} that are not finite"
    wanted, found = (np.atleast_2d(array.astype(np.float64)) for array in (expected, actual))
    unit = np.maximum(np.abs(wanted).max(axis=-1, keepdims=True), SMALLEST_UNIT)
    differences = np.abs(found - wanted)
    if (differences > ROUNDING * unit + RELATIVE_TOLERANCE * np.abs(wanted)).any():
        return f"differs from PyTorch by up to {differences.max():.2g} in {name}"
    if (np.abs(_head(wanted, wanted) - _head(wanted, found)) > TIE * unit).any():
        return f"ranks other {name} among the best {HEAD} than PyTorch"
    return ""


def _head(scores: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of each row's best entries by another array, best first."""
    depth = min(HEAD, by.shape[-1])
    best = np.argpartition(-by, depth - 1, axis=-1)[..., :depth]
    order = np.argsort(-np.take_along_axis(by, best, -1), axis=-1, kind="stable")
    return np.take_along_axis(scores, np.take_along_axis(best, order, -1), -1)

"""The parity gate against graphs that differ from their module for one kind of input alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.sdk import Role, Tensors, TensorSpec, Vocabulary
from endcap.sdk.errors import BundleRefused, EndcapError
from endcap.sdk.testing import FakeModel
from endcap.trainers.parity import check_parity, draw_inputs, free_axes, run_module
from endcap.trainers.trainer import TrainedModel


ITEMS = tuple(f"item{number:02}" for number in range(30))
INPUTS = {
    "rows": TensorSpec(("profiles", "length"), "int64", Role.ITEMS, padding=True),
    "types": TensorSpec(("profiles", "length"), "int64", Role.CODES, size=3),
    "weights": TensorSpec(("profiles", "length"), "float32", Role.VALUES),
    "reverse": TensorSpec(("profiles",), "bool", Role.MASK),
}


class Sums(nn.Module):
    """Adds up weighted rows of a matrix, whose last row is that of the padding."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.items = torch.rand(len(ITEMS) + 1, len(ITEMS), generator=generator)
        self.types = torch.tensor([0.5, 1.0, 2.0])

    def forward(self, rows: Tensor, types: Tensor, weights: Tensor, reverse: Tensor) -> Tensor:
        counted = weights * self.types[types]  # (profiles, length)
        scores = (counted[..., None] * self.items[rows]).sum(1)  # (profiles, items)
        return torch.where(reverse[:, None], -scores, scores)


class Means(Sums):
    """Divides by the sum of the weights, which is 0 for some histories."""

    def forward(self, rows: Tensor, types: Tensor, weights: Tensor, reverse: Tensor) -> Tensor:
        return super().forward(rows, types, weights, reverse) / weights.sum(1, keepdim=True)


def trained(module: nn.Module) -> TrainedModel:
    outputs = {"scores": TensorSpec(("profiles", len(ITEMS)), "float32", Role.VALUES)}
    return TrainedModel(module=module, inputs=INPUTS, outputs=outputs, item_ids=ITEMS)


def exported(model: TrainedModel, differs: Callable[[Tensors], bool]) -> FakeModel:
    """Return a graph that gives what the module gives, and other numbers where it differs."""

    def run(inputs: Tensors) -> Tensors:
        scores = run_module(model, inputs)["scores"]
        return {"scores": scores + np.float32(0.01) * differs(inputs)}

    return FakeModel("sums", Vocabulary(ITEMS), run)


def never(_inputs: Tensors) -> bool:
    return False


def test_a_graph_that_gives_the_numbers_of_its_module_passes() -> None:
    check_parity(trained(Sums()), exported(trained(Sums()), never))


def a_batch_of_seven_beside_another_length(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[0] == 7 != inputs["rows"].shape[1])


def a_batch_of_64(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[0] == 64)


def one_long_history(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[0] == 1 and inputs["rows"].shape[1] > 64)


def empty_histories(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[0] > 0 and inputs["rows"].shape[1] == 0)


def a_weight_of_zero(inputs: Tensors) -> bool:
    return bool((inputs["weights"] == 0).any())


def a_profile_of_zeros(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[1] > 1 and (inputs["weights"] == 0).all(axis=1).any())


def padding(inputs: Tensors) -> bool:
    return bool((inputs["rows"] == len(ITEMS)).any())


def nothing_but_padding(inputs: Tensors) -> bool:
    return bool(inputs["rows"].shape[1] > 1 and (inputs["rows"] == len(ITEMS)).all(axis=1).any())


def the_last_item(inputs: Tensors) -> bool:
    return bool((inputs["rows"] == len(ITEMS) - 1).any())


def the_last_code(inputs: Tensors) -> bool:
    return bool((inputs["types"] == 2).any())


def a_masked_profile(inputs: Tensors) -> bool:
    return bool(inputs["reverse"].any())


@pytest.mark.parametrize(
    "differs",
    [
        a_batch_of_seven_beside_another_length,
        a_batch_of_64,
        one_long_history,
        empty_histories,
        a_weight_of_zero,
        a_profile_of_zeros,
        padding,
        nothing_but_padding,
        the_last_item,
        the_last_code,
        a_masked_profile,
    ],
)
def test_a_graph_that_differs_for_one_kind_of_input_is_refused(differs: Callable[[Tensors], bool]) -> None:
    with pytest.raises(
        BundleRefused, match=r"the exported sums differs from PyTorch by up to 0\.01 in scores"
    ):
        check_parity(trained(Sums()), exported(trained(Sums()), differs))


def test_a_graph_that_gives_no_number_where_pytorch_gives_none_either_is_refused() -> None:
    """A history of zeros is valid, and 0 / 0 is NaN on both sides."""
    with pytest.raises(BundleRefused, match="gives scores that are not finite"):
        check_parity(trained(Means()), exported(trained(Means()), never))


def test_a_graph_that_fails_for_an_empty_history_is_refused() -> None:
    def run(inputs: Tensors) -> Tensors:
        if empty_histories(inputs):
            raise EndcapError("the graph failed")
        return run_module(trained(Sums()), inputs)

    with pytest.raises(BundleRefused, match="the exported sums fails, with profiles = 1 and length = 0"):
        check_parity(trained(Sums()), FakeModel("sums", Vocabulary(ITEMS), run))


def test_a_module_that_takes_no_long_history_is_refused_with_what_to_declare() -> None:
    class Short(Sums):
        def forward(self, rows: Tensor, types: Tensor, weights: Tensor, reverse: Tensor) -> Tensor:
            return super().forward(rows + torch.zeros(50)[: rows.shape[1]].long(), types, weights, reverse)

    with pytest.raises(BundleRefused, match=r"\(0, 64\).*: declare as numbers the axes"):
        check_parity(trained(Short()), exported(trained(Sums()), never))


class Steps(nn.Module):
    """Scores of 1000 and more, 0.05 apart: the relative tolerance of the gate is 0.1."""

    def forward(self, weights: Tensor) -> Tensor:
        return 1000 + torch.arange(30) / 20 + 0 * weights.sum()


def swapped(first: int, second: int) -> Callable[[Tensors], Tensors]:
    """Return a graph that gives two items each other's score."""

    def run(_inputs: Tensors) -> Tensors:
        scores: NDArray[np.float32] = Steps()(torch.zeros(1)).numpy()
        scores[[first, second]] = scores[[second, first]]
        return {"scores": scores}

    return run


def test_a_graph_that_orders_the_best_ten_otherwise_is_refused_however_near_the_scores() -> None:
    """The best ten are the items 29 to 20, which lie 0.05 apart; items further down may change places."""
    steps = TrainedModel(
        module=Steps(),
        inputs={"weights": INPUTS["weights"]},
        outputs={"scores": TensorSpec((30,), "float32", Role.VALUES)},
        item_ids=ITEMS,
    )

    check_parity(steps, FakeModel("steps", Vocabulary(ITEMS), swapped(3, 4)))
    for places in ((28, 29), (19, 20)):
        with pytest.raises(BundleRefused, match="ranks other scores among the best 10 than PyTorch"):
            check_parity(steps, FakeModel("steps", Vocabulary(ITEMS), swapped(*places)))


def test_inputs_are_drawn_over_their_whole_range() -> None:
    drawn = draw_inputs(INPUTS, {"profiles": 64, "length": 64}, len(ITEMS), np.random.default_rng(0))

    assert free_axes(INPUTS) == ["profiles", "length"]
    assert {name: (array.shape, str(array.dtype)) for name, array in drawn.items()} == {
        "rows": ((64, 64), "int64"),
        "types": ((64, 64), "int64"),
        "weights": ((64, 64), "float32"),
        "reverse": ((64,), "bool"),
    }
    assert set(drawn["rows"].ravel().tolist()) == set(range(len(ITEMS) + 1))
    assert set(drawn["types"].ravel().tolist()) == {0, 1, 2}
    assert drawn["weights"].min() == 0
    assert drawn["weights"].max() > 10


def test_missing_values_are_nan() -> None:
    prices = {"prices": TensorSpec(("documents",), "float32", Role.VALUES, padding=True)}

    drawn = [draw_inputs(prices, {"documents": 50}, 0, np.random.default_rng(seed)) for seed in range(20)]

    missing = [int(np.isnan(each["prices"]).sum()) for each in drawn]
    assert {0, 50} < set(missing)


class Constant(nn.Module):
    """Gives one row of two numbers."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.numbers = torch.tensor(numbers)

    def forward(self, weights: Tensor) -> Tensor:
        return self.numbers + 0 * weights.sum()


@pytest.mark.parametrize(("largest", "passes"), [(10.0, True), (1.0, False), (0.0, False)])
def test_a_number_is_compared_in_units_of_the_largest_of_its_row(largest: float, passes: bool) -> None:
    """A sum that cancels to 0.00001 may be wrong by 0.00005 beside a 10, and not beside a 1 or a 0."""
    module, graph = Constant(largest, 1e-5), Constant(largest, 6e-5)
    constant = TrainedModel(
        module=module,
        inputs={"weights": INPUTS["weights"]},
        outputs={"scores": TensorSpec((2,), "float32", Role.VALUES)},
        item_ids=ITEMS[:2],
    )
    model = FakeModel(
        "constant", Vocabulary(ITEMS[:2]), lambda inputs: {"scores": graph(**_tensors(inputs)).numpy()}
    )

    if passes:
        check_parity(constant, model)
    else:
        with pytest.raises(BundleRefused, match="differs from PyTorch by up to 5e-05"):
            check_parity(constant, model)


def _tensors(inputs: Tensors) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}

"""Parameters: one dataclass is the schema, the check and the value."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import NoParameters, parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.parameters import json_schema, read_parameters


@dataclass(frozen=True)
class Blend:
    """Parameters of every type."""

    share: float = parameter(0.5, "Share of the first.", minimum=0, maximum=1)
    depth: int = parameter(100, "Items to take.", minimum=1)
    mode: str = parameter("sum", "How they are joined.", choices=("sum", "product"))
    strict: bool = parameter(default=False, description="Whether both must know an item.")


def test_what_is_left_out_has_its_default() -> None:
    assert read_parameters(Blend, {}) == Blend(0.5, 100, "sum", strict=False)
    assert read_parameters(NoParameters, {}) == NoParameters()


def test_values_come_as_json_gives_them() -> None:
    read = read_parameters(Blend, {"share": 1, "depth": 7.0, "mode": "product", "strict": True})

    assert read == Blend(1.0, 7, "product", strict=True)
    assert isinstance(read.share, float)
    assert isinstance(read.depth, int)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shore": 1}, "unknown parameter 'shore'; use one of depth, mode, share, strict"),
        ({"share": 1.1}, "'share' must be at most 1"),
        ({"share": -0.1}, "'share' must be at least 0"),
        ({"share": float("nan")}, "'share' must be of type number"),
        ({"share": float("inf")}, "'share' must be of type number"),
        ({"share": 10**400}, "'share' must be of type number"),
        ({"share": True}, "'share' must be of type number"),
        ({"share": "1"}, "'share' must be of type number"),
        ({"share": None}, "'share' must be of type number"),
        ({"depth": 0}, "'depth' must be at least 1"),
        ({"depth": 1.5}, "'depth' must be of type integer"),
        ({"depth": float("inf")}, "'depth' must be of type integer"),
        ({"depth": True}, "'depth' must be of type integer"),
        ({"mode": "difference"}, "'mode' must be one of sum, product"),
        ({"mode": 1}, "'mode' must be of type string"),
        ({"strict": 1}, "'strict' must be of type boolean"),
    ],
)
def test_a_wrong_value_is_rejected_and_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        read_parameters(Blend, values)

    assert raised.value.field == next(iter(values))


def test_a_strategy_without_parameters_takes_none() -> None:
    with pytest.raises(InvalidInput, match="unknown parameter 'days'; use one of none"):
        read_parameters(NoParameters, {"days": 1})


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "sum", "1"])
    | st.lists(st.integers())
)


@given(st.dictionaries(st.sampled_from(["share", "depth", "mode", "strict", "other"]), JSON))
def test_any_json_is_read_or_rejected(values: dict[str, Any]) -> None:
    try:
        read = read_parameters(Blend, values)
    except InvalidInput:
        return

    assert 0 <= read.share <= 1
    assert read.depth >= 1
    assert read.mode in {"sum", "product"}


def test_a_schema_is_json_schema() -> None:
    schema = json_schema(Blend)

    assert schema["additionalProperties"] is False
    assert schema["properties"]["share"] == {
        "type": "number",
        "default": 0.5,
        "description": "Share of the first.",
        "minimum": 0,
        "maximum": 1,
    }
    assert schema["properties"]["mode"]["enum"] == ["sum", "product"]
    assert schema["properties"]["strict"]["type"] == "boolean"
    assert json_schema(NoParameters)["properties"] == {}

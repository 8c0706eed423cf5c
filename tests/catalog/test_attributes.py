"""Attributes as a database keeps them: whatever it holds, a shop is served."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.fields.attributes import LATEST, AttributeValue, Moment, load_attributes, store_attributes
from endcap.catalog.fields.checks import check_attributes
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.attributes import write_attribute


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("time"), values)
    ),
    max_leaves=8,
)


def test_attributes_are_loaded_as_they_were_stored() -> None:
    attributes: dict[str, AttributeValue] = {
        "colour": "red",
        "watts": 9.5,
        "gift": True,
        "since": Moment(5),
        "labels": ["a", "b"],
    }

    loaded = load_attributes(json.loads(json.dumps(store_attributes(attributes))))

    assert loaded == attributes
    assert isinstance(loaded["since"], Moment)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"w": 1},
        {"time": 1, "zone": "UTC"},
        {"time": True},
        {"time": "2026-01-01"},
        {"time": LATEST + 1},
        [1, 2, {"x": 1}],
        float("nan"),
        10**400,
    ],
)
def test_a_value_that_is_not_an_attribute_is_left_out(value: Any) -> None:
    assert load_attributes({"size": value, "colour": "red"}) == {"colour": "red"}


def test_an_invalid_name_is_left_out() -> None:
    assert load_attributes({"Färbe X": "red", "colour": "blue"}) == {"colour": "blue"}


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["size", "a_1"]), JSON))
def test_whatever_is_stored_can_be_loaded_and_written(stored: dict[str, Any]) -> None:
    for value in load_attributes(stored).values():
        write_attribute(value).SerializeToString()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({f"a{number}": 1.0 for number in range(129)}, "attributes has 129 entries; at most 128"),
        ({"Colour": "red"}, "attributes must have names of 1 to 64 of a-z"),
        ({"colour": "r" * 1_025}, r"attributes\.colour has 1025 characters; at most 1024"),
        ({"colour": "\0"}, r"attributes\.colour must not hold the character NUL"),
        ({"watts": float("inf")}, r"attributes\.watts must be a finite number"),
        ({"since": Moment(LATEST + 1)}, r"attributes\.since\.time must lie between the years 1 and 9999"),
        ({"labels": ["a"] * 65}, r"attributes\.labels has 65 entries; at most 64"),
        ({"labels": ["l" * 1_025]}, r"attributes\.labels has 1025 characters; at most 1024"),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_attributes(attributes, field="attributes")

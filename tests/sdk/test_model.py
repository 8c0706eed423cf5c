from dataclasses import asdict
from typing import Any

import pytest

from endcap.sdk import Role, TensorSpec
from endcap.sdk.errors import InvalidInput


def test_a_declaration_is_read_as_it_was_written() -> None:
    spec = TensorSpec(("queries", 50), "int64", Role.ITEMS, padding=True)

    assert TensorSpec.from_json({**asdict(spec), "axes": ["queries", 50], "role": "items"}) == spec


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"axes": ("",)}, "must be names"),
        ({"axes": (-1,)}, "must be names"),
        ({"axes": (1.5,)}, "must be names"),
        ({"dtype": "object"}, "type 'object' is not supported"),
        ({"role": Role.ITEMS}, "a tensor of items cannot be float32: use integers"),
        ({"role": Role.CODES, "size": 3}, "a tensor of codes cannot be float32: use integers"),
        ({"role": Role.MASK}, "a tensor of mask cannot be float32: use bool"),
        ({"dtype": "bool"}, "a tensor of values cannot be bool: use numbers"),
        ({"dtype": "int64", "role": Role.CODES}, "codes need a size"),
        ({"dtype": "int64", "role": Role.CODES, "size": 0}, "codes need a size"),
        ({"size": 3}, "no other role takes one"),
        ({"dtype": "int64", "role": Role.CODES, "size": 3, "padding": True}, "can be padded"),
        ({"dtype": "int64", "padding": True}, "can be padded"),
    ],
)
def test_parts_that_do_not_go_together_are_rejected(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        TensorSpec(**{"axes": ("queries",), "dtype": "float32", "role": Role.VALUES, **parts})

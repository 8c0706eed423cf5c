"""What a cell may hold, for each kind of column."""

import polars as pl
import pytest

from endcap.catalog.importing.cells import Kind
from endcap.catalog.importing.rejecting import Column, sift


GOOD = [
    (Kind.ID, "mug", "mug"),
    (Kind.ID, "é" * 128, "é" * 128),
    (Kind.TEXT, "a\nb", "a\nb"),
    (Kind.TEXTS, "Home| Gifts |", ["Home", "Gifts"]),
    (Kind.TEXTS, '["Home|Gifts", "Red"]', ["Home|Gifts", "Red"]),
    (Kind.FLAG, "TRUE", True),
    (Kind.FLAG, "no", False),
    (Kind.FLAG, "0", False),
    (Kind.AVAILABILITY, "OUT_OF_STOCK", "out_of_stock"),
    (Kind.NUMBER, "-1e3", -1000.0),
    (Kind.QUANTITY, "0.5", 0.5),
    (Kind.AMOUNT, "0", 0.0),
    (Kind.TIME, "1291191960000", 1_291_191_960_000),
    (Kind.TIME, "2010-12-01T08:26:00Z", 1_291_191_960_000),
    (Kind.TIME, "2010-12-01T10:26:00.5+02:00", 1_291_191_960_500),
    (Kind.TIME, "2010-12-01 08:26", 1_291_191_960_000),
    (Kind.TIME, "2010-12-01", 1_291_161_600_000),
    (Kind.TIME, "-1", -1),
    (Kind.QUANTITY, "0", 0.0),
    (Kind.AMOUNT, "9223372035.5", 9_223_372_035.5),
    (Kind.ATTRIBUTES, '{"a": ["b"], "c": {"time": 1}}', '{"a": ["b"], "c": {"time": 1}}'),
    (Kind.ATTRIBUTES, '{"a": "\\\\u0000"}', '{"a": "\\\\u0000"}'),  # a backslash and five more characters
]

BAD = [
    (Kind.ID, "a\tb"),
    (Kind.TEXT, "a\0b"),
    (Kind.TEXTS, "[1]"),
    (Kind.TEXTS, "[" * 100_000),
    (Kind.TEXTS, '["\\u0000"]'),
    (Kind.FLAG, "maybe"),
    (Kind.AVAILABILITY, "gone"),
    (Kind.NUMBER, "nan"),
    (Kind.NUMBER, "6,95"),
    (Kind.QUANTITY, "-0.1"),
    (Kind.QUANTITY, "inf"),
    (Kind.AMOUNT, "-0.01"),
    (Kind.AMOUNT, "9223372036"),
    (Kind.TIME, "253402300800000"),
    (Kind.TIME, "-62135596800001"),
    (Kind.TIME, "01/12/2010"),
    (Kind.TIME, "2010-13-01"),
    (Kind.ATTRIBUTES, "[]"),
    (Kind.ATTRIBUTES, '{"a": NaN}'),
    (Kind.ATTRIBUTES, '{"a": 1e400}'),
    (Kind.ATTRIBUTES, '{"a": "\\ud800"}'),
]


def _rows(*texts: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"line": range(1, len(texts) + 1), "cell": texts}, schema={"line": pl.Int64, "cell": pl.String}
    )


@pytest.mark.parametrize(("kind", "text", "value"), GOOD)
def test_a_good_cell_gets_its_type(kind: Kind, text: str, value: object) -> None:
    sifted = sift(_rows(text, None), [Column("cell", kind)])

    assert sifted.good["cell"].to_list() == [value, None]
    assert sifted.bad.is_empty()


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_a_bad_cell_is_set_aside_as_it_is_written(kind: Kind, text: str) -> None:
    sifted = sift(_rows(None, text), [Column("cell", kind)])

    assert sifted.good["line"].to_list() == [1]
    assert sifted.bad.select("line", "cell", "reason").rows() == [(2, text, f"cell is not {kind}")]


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (Kind.ID, "éééé", "cell has more than 3 characters"),
        (Kind.TEXT, "éééé", "cell has more than 3 characters"),
        (Kind.TEXTS, "a|b|c", "cell has more than 2 texts"),
        (Kind.TEXTS, "a|éééé", "a text of cell has more than 3 characters"),
    ],
)
def test_a_text_has_as_many_characters_as_its_column_allows(kind: Kind, text: str, reason: str) -> None:
    sifted = sift(_rows("ééé", text, None), [Column("cell", kind, length=3, entries=2)])

    assert sifted.good["line"].to_list() == [1, 3]
    assert sifted.bad["reason"].to_list() == [reason]


def test_a_row_needs_what_is_required_and_must_not_be_rejected() -> None:
    columns = [Column("cell", Kind.NUMBER, required=True), Column("absent", Kind.TEXTS)]

    sifted = sift(_rows("1", None, "2", "x"), columns, {"cell is too large": pl.col("cell") > 1})

    assert sifted.good.rows() == [(1, 1.0, None)]
    assert sifted.bad["reason"].to_list() == [
        "cell is missing",
        "cell is too large",
        "cell is not a finite number",
    ]

"""Sorting valid rows from invalid ones: a bad cell rejects its row, and no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from endcap.catalog.importing.cells import Kind, cell_type, read_cells


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an import reads."""

    name: str
    kind: Kind

    required: bool = False
    """Whether the file must have the column."""

    may_be_empty: bool = False
    """Whether a row may lack a value in a required column."""

    length: int = 128
    """The largest number of characters of an id or text, or of each text of a list."""

    entries: int = 64
    """The largest number of texts of a list."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The rows of a chunk, separated into valid and invalid ones."""

    good: pl.DataFrame
    """``line`` and every column, typed; null where the file has no value."""

    bad: pl.DataFrame
    """``line``, ``reason``, ``complaint`` and the columns that the file has, as texts.

    The reason is one of few texts; the complaint adds details of this row, or is empty.
    """


class _Flaw(NamedTuple):
    """A fault of rows: its reason, its condition and its details."""

    reason: str
    condition: pl.Expr
    complaints: pl.Expr = pl.lit("")


def sift(
    rows: pl.DataFrame, columns: Sequence[Column], refusals: Mapping[str, pl.Expr] | None = None
) -> Sifted:
    """Parse cells into their types, and set aside rows with invalid cells.

    Args:
        rows: ``line`` and the columns that the file has, as texts.
        columns: All columns.
        refusals: Conditions on typed columns of rows to reject, by reason.
    """
    known = [column for column in columns if column.name in rows.columns]
    limits = [flaw for column in known for flaw in _limits(column)]
    absent = [
        pl.lit(None, cell_type(column.kind)).alias(column.name) for column in columns if column not in known
    ]
    typed = [rows["line"]]
    flaws: list[_Flaw] = []
    for column in known:
        texts = rows[column.name]
        cells = read_cells(texts, column.kind)
        typed.append(cells.typed)
        wrong = pl.lit(texts.is_not_null() & cells.typed.is_null())
        flaws.append(_Flaw(f"{column.name} is not {column.kind}", wrong, pl.lit(cells.complaints)))
        if column.required and not column.may_be_empty:
            flaws.append(_Flaw(f"{column.name} is missing", pl.lit(texts.is_null())))
    flaws += limits
    flaws += [_Flaw(reason, condition) for reason, condition in (refusals or {}).items()]
    frame = pl.DataFrame(typed).with_columns(absent)
    # Of the flaws that a row has, the first one counts.
    nothing = pl.lit(None, pl.String)
    reasons = [pl.when(flaw.condition).then(pl.lit(flaw.reason)) for flaw in flaws]
    reason = frame.select(reason=pl.coalesce(*reasons, nothing))["reason"]
    good = reason.is_null()
    names = ["line", *(column.name for column in columns)]
    if good.all():
        return Sifted(frame.select(names), rows.clear().with_columns(reason.clear(), complaint=pl.lit("")))
    complaints = [pl.when(flaw.condition).then(flaw.complaints) for flaw in flaws]
    complaint = frame.select(complaint=pl.coalesce(*complaints, nothing))["complaint"]
    return Sifted(frame.filter(good).select(names), rows.with_columns(reason, complaint).filter(~good))


def _limits(column: Column) -> list[_Flaw]:
    """Return the faults of a column's values that exceed the limits."""
    cell = pl.col(column.name)
    too_long = f"{column.name} has more than {column.length} characters"
    if column.kind in {Kind.ID, Kind.TEXT, Kind.LANGUAGE}:
        return [_Flaw(too_long, cell.str.len_chars() > column.length)]
    if column.kind in {Kind.TEXTS, Kind.ADDRESSES}:
        longest = cell.list.eval(pl.element().str.len_chars()).list.max()
        return [
            _Flaw(f"{column.name} has more than {column.entries} texts", cell.list.len() > column.entries),
            _Flaw(f"a text of {too_long}", longest > column.length),
        ]
    return []

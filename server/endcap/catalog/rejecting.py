"""Reading a Parquet file whose cells may be wrong: a bad cell costs its row, and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from endcap.catalog.money import MAX_UNITS
from endcap.sdk.errors import InvalidInput


class Kind(StrEnum):
    """What a column holds; the text completes "… is not …"."""

    TEXT = "a text"
    TEXTS = "a list of texts"
    FLAG = "true or false"
    NUMBER = "a finite number"
    AMOUNT = "an amount of money"
    TIME = "a time in Unix milliseconds"


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an import knows."""

    name: str
    kind: Kind

    required: bool = False
    """Whether the file must have the column, and every row a value in it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file in its order, the good ones and the others."""

    rows: pl.DataFrame
    """The known columns, typed, with nulls where the file has no such column; and ``row``, from 0."""

    rejected: pl.DataFrame
    """``file``, ``row``, ``reason`` and the known columns as text."""

    size: int
    """How many rows there were."""


def check_file(file: Path, columns: Sequence[Column]) -> int:
    """Return the number of rows of a file that can be read.

    Raises:
        InvalidInput: It is no Parquet file, or a required column is missing.
    """
    try:
        table = pl.scan_parquet(file)
        found = table.collect_schema()
        row_count = int(table.select(pl.len()).collect().item())
    except pl.exceptions.PolarsError:
        raise InvalidInput(f"{file} is not a Parquet file: write it again") from None
    required = [column.name for column in columns if column.required]
    missing = [name for name in required if name not in found]
    if missing:
        raise InvalidInput(f"{file} has no column {missing[0]!r}: it needs {', '.join(required)}")
    return row_count


def read_batches(file: Path, columns: Sequence[Column], *, batch_size: int) -> Iterator[Batch]:
    """Read a file that ``check_file`` has passed, batch after batch.

    Args:
        file: A Parquet file; columns that are not named are left out.
        columns: What to read.
        batch_size: Rows a batch.
    """
    table = pl.scan_parquet(file)
    schema = table.collect_schema()
    known = [column for column in columns if column.name in schema]
    absent = [
        pl.lit(None, _TYPES[column.kind]).alias(column.name) for column in columns if column not in known
    ]
    row_count = table.select(pl.len()).collect().item()
    for start in range(0, row_count, batch_size):
        found = table.select(column.name for column in known).slice(start, batch_size).collect()
        found = found.with_row_index("row", start)
        typed = found.with_columns(_typed(column, schema[column.name]) for column in known)
        reason = pl.coalesce(*(_reason(column, found[column.name]) for column in known))
        typed = typed.with_columns(reason.alias("reason"))
        good = typed["reason"].is_null()
        yield Batch(
            typed.filter(good).select("row", *(column.name for column in known), *absent),
            found.with_columns(_text(column, schema[column.name]) for column in known)
            .filter(~good)
            .select(
                pl.lit(file.name).alias("file"),
                "row",
                typed["reason"].filter(~good),
                *(column.name for column in known),
            ),
            found.height,
        )


_TYPES = {
    Kind.TEXT: pl.String(),
    Kind.TEXTS: pl.List(pl.String()),
    Kind.FLAG: pl.Boolean(),
    Kind.NUMBER: pl.Float64(),
    Kind.AMOUNT: pl.Float64(),
    Kind.TIME: pl.Int64(),
}


def _text(column: Column, found: pl.DataType) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(found, pl.List):
        return value.cast(pl.List(pl.String())).list.join(", ")
    return value.cast(pl.String())


def _typed(column: Column, found: pl.DataType) -> pl.Expr:
    """Cast a column by way of text; what cannot be cast becomes null."""
    value = pl.col(column.name)
    text = _text(column, found)
    match column.kind:
        case Kind.TEXT:
            return pl.when(text != "").then(text).alias(column.name)
        case Kind.TEXTS:
            return value.cast(pl.List(pl.String())) if isinstance(found, pl.List) else pl.concat_list(text)
        case Kind.FLAG:
            lower = text.str.to_lowercase()
            return pl.when(lower.is_in(["true", "false"])).then(lower == "true").alias(column.name)
        case Kind.NUMBER:
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number).alias(column.name)
        case Kind.AMOUNT:
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_between(0, MAX_UNITS)).then(number).alias(column.name)
        case Kind.TIME:
            time = text.cast(pl.Int64, strict=False)
            return pl.when(time >= 0).then(time).alias(column.name)


def _reason(column: Column, found: pl.Series) -> pl.Expr:
    """Say why a row must be rejected for this column, null where it need not."""
    typed = pl.col(column.name)
    present = pl.lit(found.is_not_null())
    if column.kind is Kind.TEXT:
        present &= typed.is_not_null()  # an empty text is none
    missing = pl.lit(f"{column.name} is missing" if column.required else None)
    return (
        pl.when(present & typed.is_null())
        .then(pl.lit(f"{column.name} is not {column.kind}"))
        .when(typed.is_null())
        .then(missing)
    )

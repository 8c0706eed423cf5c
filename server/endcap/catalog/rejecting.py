"""Cells that may be wrong: a bad cell costs its row, and nothing else."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import polars as pl

from endcap.catalog.items import Availability
from endcap.catalog.money import MAX_UNITS


class Kind(StrEnum):
    """What a column holds; the text completes "… is not …"."""

    ID = "an id without control characters"
    TEXT = "a text without NUL"
    TEXTS = "a list of texts: write them with | between, or as a JSON array"
    FLAG = "true or false"
    AVAILABILITY = f"one of {', '.join(Availability)}"
    NUMBER = "a finite number"
    QUANTITY = "a finite number above 0"
    AMOUNT = "an amount of money"
    TIME = "a time: write Unix milliseconds, or 2026-01-31T12:00:00Z"
    OBJECT = "a JSON object"


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an import knows."""

    name: str
    kind: Kind

    required: bool = False
    """Whether the file must have the column, and every row a value in it."""

    length: int = 128
    """The most characters of an id or a text, or of each text of a list."""

    entries: int = 64
    """The most texts of a list."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The rows of a chunk, the good ones and the others."""

    good: pl.DataFrame
    """``line`` and every column, typed, null where the file has no value."""

    bad: pl.DataFrame
    """``line``, ``reason`` and the columns that the file has, as texts."""


def sift(
    rows: pl.DataFrame, columns: Sequence[Column], refusals: Mapping[str, pl.Expr] | None = None
) -> Sifted:
    """Give cells their types, and set aside the rows that have one which cannot be given it.

    Args:
        rows: ``line`` and those of the columns that the file has, as texts.
        columns: All columns.
        refusals: What a row of typed columns must not be, by the reason that is given.
    """
    known = [column for column in columns if column.name in rows.columns]
    absent = [
        pl.lit(None, _TYPES[column.kind]).alias(column.name) for column in columns if column not in known
    ]
    typed = pl.DataFrame(
        [rows["line"], *(_typed(rows[column.name], column.kind) for column in known)]
    ).with_columns(absent)
    reasons = [_reason(column, rows[column.name], typed[column.name]) for column in known]
    refused = [limit for column in known for limit in _limits(column)] + list((refusals or {}).items())
    reasons += [pl.when(condition).then(pl.lit(reason)) for reason, condition in refused]
    reason = typed.select(pl.coalesce(reasons).alias("reason"))["reason"]
    good = reason.is_null()
    names = ["line", *(column.name for column in columns)]
    return Sifted(typed.filter(good).select(names), rows.with_columns(reason).filter(~good))


_TYPES: Mapping[Kind, pl.DataType] = {
    Kind.ID: pl.String(),
    Kind.TEXT: pl.String(),
    Kind.TEXTS: pl.List(pl.String()),
    Kind.FLAG: pl.Boolean(),
    Kind.AVAILABILITY: pl.String(),
    Kind.NUMBER: pl.Float64(),
    Kind.QUANTITY: pl.Float64(),
    Kind.AMOUNT: pl.Float64(),
    Kind.TIME: pl.Int64(),
    Kind.OBJECT: pl.String(),
}

_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")


def _typed(texts: pl.Series, kind: Kind) -> pl.Series:
    """Return a column in its type, null where a text cannot be one of it."""
    name = texts.name
    if kind is Kind.TEXTS:
        return pl.Series(name, [_read(_texts, text) for text in texts], dtype=_TYPES[kind])
    if kind is Kind.OBJECT:
        # Kept as a text, for every object has its own types.
        return pl.Series(name, [text if _read(_object, text) is not None else None for text in texts])
    return pl.select(_CASTS[kind](pl.lit(texts)).alias(name)).to_series()


def _text(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.str.contains("\0", literal=True)).then(text)


def _id(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.str.contains(r"\p{Cc}")).then(text)


def _flag(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)


def _availability(text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(list(Availability))).then(lower)


def _number(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _quantity(text: pl.Expr) -> pl.Expr:
    number = _number(text)
    return pl.when(number > 0).then(number)


def _amount(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_between(0, MAX_UNITS)).then(number)


def _time(text: pl.Expr) -> pl.Expr:
    time = pl.coalesce(text.cast(pl.Int64, strict=False), *_calendar_times(text))
    return pl.when(time >= 0).then(time)


def _calendar_times(text: pl.Expr) -> list[pl.Expr]:
    """Read dates and times as ISO 8601 has them; those that name no zone are UTC."""
    spaced = text.str.replace("T", " ", literal=True)
    zoned = [spaced.str.to_datetime(form, time_unit="ms", strict=False) for form in _ZONED_FORMATS]
    plain = [spaced.str.to_datetime(form, time_unit="ms", strict=False) for form in _TIME_FORMATS]
    return [time.dt.epoch("ms") for time in [*plain, *zoned]]


def _read(read: Any, text: str | None) -> Any:
    try:
        return None if text is None else read(text)
    except (ValueError, RecursionError):
        return None


def _texts(text: str) -> list[str]:
    if not text.startswith("["):
        texts = [part.strip() for part in text.split("|")]
    else:
        texts = _decode(text)
        if not all(isinstance(part, str) for part in texts):
            raise ValueError
    _check_storable(texts)
    return [part for part in texts if part]


def _object(text: str) -> dict[str, Any]:
    value = _decode(text)
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - a cell that is wrong, and no mistake of a caller
    _check_storable(value)
    return value


def _check_storable(value: Any) -> None:
    """Refuse what no database stores: NUL and half a character, which escapes can spell, and infinity."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError


def _no_number(_: str) -> NoReturn:
    raise ValueError


_decode = json.JSONDecoder(parse_constant=_no_number).decode


def _limits(column: Column) -> list[tuple[str, pl.Expr]]:
    """Return what is too much in a column that has its type, each with the reason."""
    cell = pl.col(column.name)
    too_long = f"{column.name} has more than {column.length} characters"
    if column.kind in {Kind.ID, Kind.TEXT}:
        return [(too_long, cell.str.len_chars() > column.length)]
    if column.kind is Kind.TEXTS:
        longest = cell.list.eval(pl.element().str.len_chars()).list.max()
        too_many = f"{column.name} has more than {column.entries} texts"
        return [
            (too_many, cell.list.len() > column.entries),
            (f"a text of {too_long}", longest > column.length),
        ]
    return []


def _reason(column: Column, texts: pl.Series, typed: pl.Series) -> pl.Expr:
    """Say why a row must be rejected for this column, null where it need not."""
    absent = f"{column.name} is missing" if column.required else None
    return (
        pl.when(pl.lit(texts.is_not_null() & typed.is_null()))
        .then(pl.lit(f"{column.name} is not {column.kind}"))
        .when(pl.lit(typed.is_null()))
        .then(pl.lit(absent, pl.String))
    )


_CASTS: Mapping[Kind, Callable[[pl.Expr], pl.Expr]] = {
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.AVAILABILITY: _availability,
    Kind.NUMBER: _number,
    Kind.QUANTITY: _quantity,
    Kind.AMOUNT: _amount,
    Kind.TIME: _time,
}
"""How a column of each kind is read whose cells can all be read at once; what cannot be read becomes null."""

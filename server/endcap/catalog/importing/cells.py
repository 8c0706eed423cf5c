"""Cells of a file: parsing their texts into typed values."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from endcap.catalog.fields.attributes import EARLIEST, LATEST, AttributeValue, load_attribute
from endcap.catalog.fields.checks import (
    CURRENCY,
    EVENT_TYPE,
    LANGUAGE,
    check_attributes,
    check_image_uris,
    check_localized_texts,
)
from endcap.catalog.fields.limits import MAX_QUANTITY
from endcap.catalog.fields.money import MAX_UNITS
from endcap.catalog.importing.table_files.text_lines import decode_json
from endcap.catalog.items.items import Availability
from endcap.sdk.errors import InvalidInput


class Kind(StrEnum):
    """The kind of a column's values; the text completes "… is not …"."""

    ID = "an id without control characters"
    TYPE = "a type: write 1 to 64 of a-z, 0-9 and _"
    TEXT = "a text without NUL"
    TEXTS = "a list of texts: write them with | between, or as a JSON array"
    ADDRESSES = "a list of addresses: write https, http or s3 addresses with | between, or as a JSON array"
    LANGUAGE = "a language: write a BCP 47 tag, such as en-GB"
    LOCALIZED_TEXTS = 'a JSON object of texts by language, such as {"de": {"title": "Becher"}}'
    FLAG = "true or false"
    AVAILABILITY = f"one of {', '.join(Availability)}"
    NUMBER = "a finite number"
    QUANTITY = f"a number from 0 to {MAX_QUANTITY}"
    AMOUNT = "an amount of money"
    CURRENCY = "a currency: write an ISO 4217 code, such as EUR"
    TIME = "a time: write Unix milliseconds, or 2026-01-31T12:00:00Z"
    ATTRIBUTES = 'a JSON object of texts, numbers, true or false, lists of texts, and {"time": 1700000000000}'
    PROPERTIES = "a JSON object whose values are of the types of attributes"


@dataclass(frozen=True, slots=True)
class Cells:
    """A parsed column."""

    typed: pl.Series
    """The parsed values; null where a text is empty or invalid."""

    complaints: pl.Series
    """Details of the fault of an invalid text; empty if there are none."""


def cell_type(kind: Kind) -> pl.DataType:
    """Return the type of a parsed column; JSON objects stay texts because their types vary by row."""
    return _TYPES.get(kind, pl.String())


def read_cells(texts: pl.Series, kind: Kind) -> Cells:
    """Parse the cells of a column.

    Args:
        texts: One text a row; null for an empty cell.
        kind: The kind of the values.
    """
    if kind in _READERS:
        found = [_read(_READERS[kind], text) for text in texts]
        typed = pl.Series(texts.name, [value for value, _ in found], dtype=cell_type(kind))
        return Cells(typed, pl.Series([complaint for _, complaint in found], dtype=pl.String))
    typed = _printable(texts) if kind is Kind.ID else pl.select(_CASTS[kind](pl.lit(texts))).to_series()
    return Cells(typed.alias(texts.name), pl.Series([""], dtype=pl.String))


def read_attributes(text: str) -> dict[str, AttributeValue]:
    """Return the attributes or properties that a cell holds.

    Raises:
        InvalidInput: A value has a type that attributes cannot have.
        ValueError: The cell is not a JSON object.
    """
    attributes: dict[str, AttributeValue] = {}
    for name, value in _object(text).items():
        attribute = load_attribute(value)
        if attribute is None:
            raise InvalidInput(f"the value of {name} has none of these types", field=name)
        attributes[name] = attribute
    return attributes


def read_localized_texts(text: str) -> dict[str, dict[str, str]]:
    """Return the texts by language that a cell holds, without empty texts.

    Raises:
        ValueError: The cell is not a JSON object of objects of texts.
    """
    languages = _object(text)
    if not all(
        isinstance(texts, dict) and all(isinstance(each, str) for each in texts.values())
        for texts in languages.values()
    ):
        raise ValueError
    return {
        language: {name: each for name, each in texts.items() if each}
        for language, texts in languages.items()
    }


_TYPES: Mapping[Kind, pl.DataType] = {
    Kind.TEXTS: pl.List(pl.String()),
    Kind.ADDRESSES: pl.List(pl.String()),
    Kind.FLAG: pl.Boolean(),
    Kind.NUMBER: pl.Float64(),
    Kind.QUANTITY: pl.Float64(),
    Kind.AMOUNT: pl.Float64(),
    Kind.TIME: pl.Int64(),
}
"""The types of the columns that are not texts."""

_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_ZONED_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")


def _printable(texts: pl.Series) -> pl.Series:
    # Nearly every id is plain ASCII, which needs no loop in Python.
    if not texts.str.contains(r"[^ -~]").any():
        return texts
    return pl.Series(
        [text if text is None or text.isprintable() else None for text in texts], dtype=pl.String
    )


def _text(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.str.contains("\0", literal=True)).then(text)


def _matching(pattern: str) -> Callable[[pl.Expr], pl.Expr]:
    return lambda text: pl.when(text.str.contains(f"^(?:{pattern})$")).then(text)


def _flag(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)


def _availability(text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(list(Availability))).then(lower)


def _number(is_valid: Callable[[pl.Expr], pl.Expr]) -> Callable[[pl.Expr], pl.Expr]:
    def read(text: pl.Expr) -> pl.Expr:
        number = text.cast(pl.Float64, strict=False)
        return pl.when(is_valid(number)).then(number)

    return read


def _time(text: pl.Expr) -> pl.Expr:
    time = pl.coalesce(text.cast(pl.Int64, strict=False), *_calendar_times(text))
    return pl.when(time.is_between(EARLIEST, LATEST)).then(time)


def _calendar_times(text: pl.Expr) -> list[pl.Expr]:
    """Parse dates and times in ISO 8601; times without a zone are UTC."""
    spaced = text.str.replace("T", " ", literal=True)
    zoned = [spaced.str.to_datetime(form, time_unit="ms", strict=False) for form in _ZONED_FORMATS]
    plain = [spaced.str.to_datetime(form, time_unit="ms", strict=False) for form in _TIME_FORMATS]
    return [time.dt.epoch("ms") for time in [*plain, *zoned]]


_CASTS: Mapping[Kind, Callable[[pl.Expr], pl.Expr]] = {
    Kind.TYPE: _matching(EVENT_TYPE.pattern),
    Kind.TEXT: _text,
    Kind.LANGUAGE: _matching(LANGUAGE.pattern),
    Kind.FLAG: _flag,
    Kind.AVAILABILITY: _availability,
    Kind.NUMBER: _number(pl.Expr.is_finite),
    Kind.QUANTITY: _number(lambda number: number.is_between(0, MAX_QUANTITY)),
    Kind.AMOUNT: _number(lambda number: number.is_between(0, MAX_UNITS + 1, closed="left")),
    Kind.CURRENCY: _matching(CURRENCY.pattern),
    Kind.TIME: _time,
}
"""Parsers of whole columns, by kind; a cell that cannot be parsed becomes null."""


def _read(read: Callable[[str], Any], text: str | None) -> tuple[Any, str]:
    """Return the value of a cell and no fault, or None and details of the fault."""
    if text is None:
        return None, ""
    try:
        return read(text), ""
    except InvalidInput as error:
        return None, str(error)
    except (ValueError, RecursionError):
        return None, ""


def _texts(text: str) -> list[str]:
    if not text.startswith("["):
        texts = [part.strip() for part in text.split("|")]
    else:
        texts = decode_json(text)
        if not all(isinstance(part, str) for part in texts):
            raise ValueError
    _check_storable(text, texts)
    return [part for part in texts if part]


def _addresses(text: str) -> Sequence[str]:
    addresses = _texts(text)
    check_image_uris(addresses)
    return addresses


def _attributes(field: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        check_attributes(read_attributes(text), field=field)
        return text

    return read


def _localized_texts(text: str) -> str:
    check_localized_texts(read_localized_texts(text))
    return text


_READERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.TEXTS: _texts,
    Kind.ADDRESSES: _addresses,
    Kind.LOCALIZED_TEXTS: _localized_texts,
    Kind.ATTRIBUTES: _attributes("attributes"),
    Kind.PROPERTIES: _attributes("properties"),
}
"""Parsers of single cells, by kind."""


def _object(text: str) -> dict[str, Any]:
    value = decode_json(text)
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - the cell is wrong, not the caller
    _check_storable(text, value)
    return value


def _check_storable(text: str, value: Any) -> None:
    """Reject NUL and lone surrogates, which only an escape can spell and which databases cannot store."""
    if "\0" in text:
        raise ValueError
    if "\\u" in text:
        plain = json.dumps(value, ensure_ascii=False)
        plain.encode()
        if "\\u0000" in plain.replace("\\\\", ""):
            raise ValueError

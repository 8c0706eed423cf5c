"""A filter as a tree: conditions joined by AND, OR and NOT, independent of the data they apply to.

The tree knows neither the items' columns nor a table's. ``filters`` turns it into a mask over a
catalog view; a filter over database rows reads the same tree.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import repeat
from math import isfinite
from operator import contains
from typing import TypeAlias


_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Operator(StrEnum):
    """How a condition compares a field with its value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="

    HAS = ":"
    """Contains a text, or holds an element."""


ORDERS = frozenset({Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST})
"""The operators that need an order."""


@dataclass(frozen=True, slots=True)
class Value:
    """The right-hand side of a comparison, as written; the type of the field gives it a meaning."""

    pieces: tuple[str, ...]
    """The text between the wildcards ``*``; a text without one is a single piece."""

    quoted: bool

    position: int = dataclasses.field(compare=False)
    """Position of the value in the filter: characters before it."""

    @property
    def text(self) -> str:
        """The text, its wildcards as ``*``."""
        return "*".join(self.pieces)

    @property
    def has_wildcard(self) -> bool:
        """Whether a part of it stands for any characters."""
        return len(self.pieces) > 1

    @property
    def is_anything(self) -> bool:
        """Whether it is ``*`` alone, which asks for presence."""
        return self.pieces == ("", "")

    @property
    def number(self) -> float | None:
        """The finite number that the text spells, or None."""
        if not _NUMBER.fullmatch(self.text):
            return None
        number = float(self.text)
        return number if isfinite(number) else None

    @property
    def is_bare_number(self) -> bool:
        """Whether it is a number written without quotes, which has no place in an order of texts."""
        return not self.quoted and self.number is not None

    @property
    def time(self) -> float | None:
        """Unix milliseconds of the RFC 3339 timestamp that the text spells, or None."""
        if not _TIME.fullmatch(self.text):
            return None
        try:
            return (datetime.fromisoformat(self.text.upper()) - _EPOCH) / _MILLISECOND
        except ValueError:  # no such day or hour
            return None

    @property
    def boolean(self) -> bool | None:
        """The truth value that the text spells, or None."""
        return {"true": True, "false": False}.get(self.text)

    def equals(self, texts: Iterable[str]) -> Iterator[bool]:
        """Yield for each text whether it is this one, case and all; a wildcard stands for any characters."""
        match self.pieces:
            case (text,):
                return map(text.__eq__, texts)
            case (prefix, ""):
                return map(str.startswith, texts, repeat(prefix))
            case pieces:
                return (_fits(pieces, text) for text in texts)

    def occurs_in(self, folded_texts: Iterable[str]) -> Iterator[bool]:
        """Yield for each text, which must be without case, whether it contains this one whatever the case."""
        match tuple(piece.casefold() for piece in self.pieces):
            case (text,):
                return map(contains, folded_texts, repeat(text))
            case pieces:
                return (_fits(("", *pieces, ""), text) for text in folded_texts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands alone: true where it occurs in the texts of an item."""

    value: Value


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field, an operator and a value."""

    field: str
    """As written, such as ``price`` or ``attributes.colour``."""

    operator: Operator
    value: Value

    position: int = dataclasses.field(compare=False)
    """Position of the field in the filter: characters before it."""


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is not."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """True where every operand is; without any, everywhere."""

    operands: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where any operand is."""

    operands: tuple["Expression", ...]


Expression: TypeAlias = Literal | Comparison | Not | And | Or


def conditions(expression: Expression) -> Iterator[Literal | Comparison]:
    """Yield the conditions of an expression, in the order written."""
    pending = [expression]
    while pending:
        match pending.pop():
            case (Literal() | Comparison()) as condition:
                yield condition
            case Not(operand):
                pending.append(operand)
            case And(operands) | Or(operands):
                pending.extend(reversed(operands))


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    """Return whether a text is the pieces in their order, with anything between them.

    Taking each piece where it first occurs is enough, so the time is linear in the text.
    """
    first, *middle, last = pieces
    start, end = len(first), len(text) - len(last)
    if start > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:
        found = text.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True

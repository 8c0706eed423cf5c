"""Columns of texts that filters look into.

The looking is done by Polars, which a server and a trainer have and a base install has not. It holds no lock
of the interpreter meanwhile, so that a server's other calls go on, and its time is linear in the texts
whatever the wildcards: they become a regular expression, which it runs as an automaton that never goes back.
"""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.filter_expression import Operator, Value


if TYPE_CHECKING:
    import polars as pl

_SLICE = 1_024  # texts; about a millisecond of the interpreter
_PAUSE = 1e-5  # seconds in which another thread can have the interpreter


class TextColumn:
    """Texts, kept as they are looked into: once read, many conditions go through them fast."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.names = texts
        """As they were given."""

    def equal(self, value: Value) -> NDArray[np.bool_]:
        """Return the texts that equal a value, by ``Value.equals``."""
        first, *others = value.pieces
        if not others:
            return _as_mask(self._plain == first)
        if others == [""]:
            return _as_mask(self._plain.str.starts_with(first))
        return _as_mask(self._plain.str.contains(rf"\A{_in_order(value.pieces)}\z"))

    def containing(self, value: Value) -> NDArray[np.bool_]:
        """Return the texts that contain a value whatever the case, by ``Value.occurs_in``."""
        pieces = [piece.casefold() for piece in value.pieces if piece]
        if len(pieces) == 1:
            return _as_mask(self._folded.str.contains(pieces[0], literal=True))
        return _as_mask(self._folded.str.contains(_in_order(pieces)))

    def ordered(self, comparator: Operator, bound: str) -> NDArray[np.bool_]:
        """Return the texts that lie above or below a bound by their code points."""
        texts = self._plain
        match comparator:
            case Operator.LESS:
                found = texts < bound
            case Operator.AT_MOST:
                found = texts <= bound
            case Operator.GREATER:
                found = texts > bound
            case _:
                found = texts >= bound
        return _as_mask(found & (texts != ""))

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which texts are not empty."""
        return _as_mask(self._plain != "")

    @cached_property
    def _plain(self) -> "pl.Series":
        return self._read(str)

    @cached_property
    def _folded(self) -> "pl.Series":
        return self._read(str.casefold)

    def _read(self, form: Callable[[str], str]) -> "pl.Series":
        import polars as pl

        slices = [pl.Series(dtype=pl.String)]
        for start in range(0, len(self.names), _SLICE):
            slices.append(pl.Series(list(map(form, self.names[start : start + _SLICE])), dtype=pl.String))
            time.sleep(_PAUSE)
        return pl.concat(slices, rechunk=True)


def _in_order(pieces: Sequence[str]) -> str:
    """Return a pattern of pieces in their order, with anything between them."""
    import polars as pl

    return "(?s:{})".format(".*".join(pl.escape_regex(piece) for piece in pieces))


def _as_mask(found: "pl.Series") -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = found.to_numpy()
    return mask

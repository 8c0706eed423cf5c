"""Lists of different lengths, stored flat."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Lists of item rows, one behind the other."""

    flat: Rows
    """Every list's rows, ``(offsets[-1],)``."""

    offsets: NDArray[np.int64]
    """List ``i`` is ``flat[offsets[i]:offsets[i + 1]]``; ``(lists + 1,)``."""

    @classmethod
    def of(cls, lists: Sequence[Iterable[int]]) -> Self:
        """Build from one iterable of rows a list."""
        arrays = [np.fromiter(rows, np.int32) for rows in lists]
        flat = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return cls(flat, offsets_of(np.array([len(rows) for rows in arrays], np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Rows:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each list."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> NDArray[np.int64]:
        """For every flat position the list that it belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, lists: NDArray[np.integer]) -> Self:
        """Return the lists of the given indices, in that order."""
        return type(self)(self.flat[self.positions(lists)], offsets_of(self.lengths[lists]))

    def keep(self, mask: NDArray[np.bool_]) -> Self:
        """Return every list less the flat positions where ``mask`` is False; a list may become empty."""
        return type(self)(self.flat[mask], offsets_of(np.bincount(self.owners[mask], minlength=len(self))))

    def positions(self, lists: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the flat positions of the given lists, list after list."""
        lengths = self.lengths[lists]
        starts = np.repeat(self.offsets[lists] - (np.cumsum(lengths) - lengths), lengths)
        return starts + np.arange(lengths.sum())


def offsets_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the offsets of lists and the end of the last one; ``(lists + 1,)``."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets

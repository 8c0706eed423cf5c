"""The texts of an item as counted terms, and the weights of the items of a history.

``features.VERSION`` covers this module too.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import CatalogView, Labels
from endcap.sdk.text import tokenize
from endcap.sdk.vocabulary import UNKNOWN, Vocabulary


BUCKETS = 512
"""The number of buckets for the words that a model does not know."""

DECAY = 0.6
"""Decay of the events of one moment, relative to those of the next moment."""


def text_terms(text: str) -> list[str]:
    """Return the words of a text, then its pairs of neighbouring words, joined by a space."""
    words = tokenize(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def item_terms(catalog: CatalogView, rows: Iterable[int] | None = None) -> Iterator[list[str]]:
    """Return for each row, or each of ``rows``, the terms of title and description, and its labels.

    Labels are brands, categories, tags, and attributes that are no numbers; written ``category=toys``, they
    cannot be mistaken for words.
    """
    labels: dict[str, Labels] = {
        **{name: column for name, column in catalog.attributes.items() if isinstance(column, Labels)},
        "brand": catalog.brands,
        "category": catalog.categories,
        "tag": catalog.tags,
    }
    for row in range(len(catalog)) if rows is None else rows:
        own = [f"{name}={value}" for name, column in labels.items() for value in column.of_row(row)]
        yield [*text_terms(catalog.titles[row]), *text_terms(catalog.descriptions[row]), *own]


def is_label(term: str) -> bool:
    """Return whether a term is a label."""
    return "=" in term


@dataclass(frozen=True, slots=True, eq=False)
class TermCounts:
    """Term counts of some documents, stored flat."""

    terms: NDArray[np.int64]
    """Document after document, each of its terms once."""

    counts: NDArray[np.float32]
    """The count of each term in its document."""

    offsets: NDArray[np.int64]
    """Document ``d`` owns ``terms[offsets[d]:offsets[d + 1]]``; ``(documents + 1,)``."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def table(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the documents ``start`` to ``stop`` as a graph takes them.

        Returns:
            The distinct terms of all of them, ``(terms,)``, and the counts, ``(documents, terms)``.
        """
        own = slice(self.offsets[start], self.offsets[stop])
        distinct, columns = np.unique(self.terms[own], return_inverse=True)
        owners = np.repeat(np.arange(stop - start), np.diff(self.offsets[start : stop + 1]))
        counts = np.zeros((stop - start, len(distinct)), np.float32)
        counts[owners, columns] = self.counts[own]
        return distinct, counts


class TermIndex:
    """The terms that a model knows, and behind them ``BUCKETS`` for the words that it does not.

    A word falls into a bucket by its CRC-32, so that two items that share a new word are alike for that.
    Unknown pairs of words and unknown labels are passed over.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        self._known = Vocabulary(terms)

    def __len__(self) -> int:
        return len(self._known) + BUCKETS

    def count(self, documents: Iterable[Sequence[str]]) -> TermCounts:
        """Count the terms of documents."""
        terms, lengths = [], [0]
        for document in documents:
            found = [number for term in document if (number := self._number(term)) != UNKNOWN]
            terms += found
            lengths.append(len(found))
        owners = np.repeat(np.arange(len(lengths) - 1), lengths[1:])
        keys, counts = np.unique(owners * len(self) + np.array(terms, np.int64), return_counts=True)
        owners, distinct = np.divmod(keys, len(self))
        return TermCounts(
            terms=distinct,
            counts=counts.astype(np.float32),
            offsets=np.searchsorted(owners, np.arange(len(lengths))),
        )

    def _number(self, term: str) -> int:
        known = self._known.row(term)
        if known != UNKNOWN or " " in term or is_label(term):
            return known
        return len(self._known) + zlib.crc32(term.encode()) % BUCKETS


def moment_weights(times: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``DECAY ** age`` of each event, where the age is how many distinct later moments there are.

    So what was bought together counts alike, however many items a basket holds.

    Args:
        times: Unix milliseconds, in any order.
    """
    moments, places = np.unique(times, return_inverse=True)
    ages = len(moments) - 1 - places
    return (DECAY**ages).astype(np.float32)

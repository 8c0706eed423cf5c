"""Search without the database: which titles of a view share words with a text.

It stands in for ``endcap.catalog.items.search`` while the database does not answer, so it knows what the view
holds and no more: titles in the shop's own language, and how many words they share.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.items.search import MAX_WORDS
from endcap.catalog.items.search_index import indexed_words, word_forms
from endcap.sdk import NO_ROWS, CatalogView, Rows, Scores, Vocabulary
from endcap.sdk.text import tokenize


_BEGINNING = np.float32(0.5)
"""The score of a title with a word that begins like the last word; a whole word scores 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Titles:
    """The words of a view's titles."""

    titles: tuple[str, ...]

    rows: Mapping[str, Rows]
    """The rows whose titles hold a word, by word."""

    words: Sequence[str]
    """Every word, sorted."""

    lengths: NDArray[np.float32]
    """The number of different words of each title."""

    @classmethod
    def of(cls, titles: tuple[str, ...]) -> Self:
        rows: dict[str, list[int]] = defaultdict(list)
        lengths = np.zeros(len(titles), np.float32)
        for row, title in enumerate(titles):
            words = set(indexed_words(title).split())
            lengths[row] = len(words)
            for word in words:
                rows[word].append(row)
        by_word = {word: np.array(of_word, np.int32) for word, of_word in rows.items()}
        return cls(titles, by_word, sorted(by_word), lengths)

    def holding(self, words: Sequence[str]) -> Rows:
        """Return the rows that hold any of the words, each once."""
        return np.unique(np.concatenate([NO_ROWS, *(self.rows.get(word, NO_ROWS) for word in words)]))

    def beginning(self, word: str) -> Rows:
        """Return the rows that hold a word which begins like that, each once."""
        first = bisect_left(self.words, word)
        return self.holding(list(takewhile(lambda other: other.startswith(word), self.words[first:])))


# A view cannot be referred to weakly, and its vocabulary lives as long.
_kept: WeakKeyDictionary[Vocabulary, _Titles] = WeakKeyDictionary()


def match_titles(view: CatalogView, text: str) -> tuple[Rows, Scores]:
    """Return the rows whose titles share words with a text, best first, and how well each matches.

    A title matches by ``(n + 1 / (1 + l)) / q`` when it holds ``n`` of the ``q`` words of the text and
    has ``l`` words: the more the better, and of equally many the shorter title. The last word counts half
    where it is only a beginning. Equal matches stand in the order of their rows.

    The first call for a view reads all its titles, which takes a second for 100,000: stay off the event
    loop.
    """
    words = list(dict.fromkeys(tokenize(text)))[:MAX_WORDS]
    if not words:
        return NO_ROWS, np.empty(0, np.float32)
    titles = _kept.get(view.vocabulary)
    if titles is None or titles.titles is not view.titles:
        titles = _kept[view.vocabulary] = _Titles.of(view.titles)
    held = np.zeros(len(view), np.float32)
    held[titles.beginning(words[-1])] = _BEGINNING
    held[titles.holding(word_forms(words[-1]))] = 1
    for word in words[:-1]:
        held[titles.holding(word_forms(word))] += 1
    rows = np.flatnonzero(held).astype(np.int32)
    relevance = (held[rows] + np.reciprocal(titles.lengths[rows] + 1)) / np.float32(len(words))
    best = np.argsort(-relevance, kind="stable")
    return rows[best], relevance[best]

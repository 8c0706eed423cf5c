"""The similarity of items: the cosine of their sets of words."""

from itertools import count
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import CatalogView, Rows, Vocabulary
from endcap.sdk.catalog_view import Labels
from endcap.sdk.text import tokenize


class Similarity:
    """Cosines between some items of a view, by the words of their titles, categories, brands and tags.

    With words A and B of two items it is ``|A ∩ B| / √(|A| |B|)``, and 0 where one has no words.
    """

    def __init__(self, view: CatalogView, rows: Rows) -> None:
        words = _words_of(view)
        codes = [words.of(row) for row in rows.tolist()]
        sizes = np.array([len(of_row) for of_row in codes], np.int64)
        distinct, local = np.unique(np.concatenate([_NO_CODES, *codes]), return_inverse=True)
        self._holders = np.zeros((len(distinct), len(rows)), np.uint8)
        self._holders[local, np.repeat(np.arange(len(rows)), sizes)] = 1
        self._words = local
        self._bounds = [0, *np.cumsum(sizes).tolist()]
        self._inverse_norms = 1 / np.sqrt(np.maximum(sizes, 1))

    def to(self, index: int) -> NDArray[np.float64]:
        """Return the cosine of every item with one of them."""
        words = self._words[self._bounds[index] : self._bounds[index + 1]]
        shared = np.add.reduce(self._holders.take(words, 0), dtype=np.uint16)
        cosines: NDArray[np.float64] = shared * self._inverse_norms * self._inverse_norms[index]
        return cosines


class _Words:
    """The words of items as codes, worked out when an item is first asked for, in any thread."""

    def __init__(self, titles: tuple[str, ...], *labels: Labels) -> None:
        self.texts = (titles, *labels)
        self._titles = titles
        self._labels = labels
        self._vocabulary: dict[str, int] = {}
        self._codes = count()  # two threads that meet a word at once take two codes, and keep one
        self._rows: dict[int, NDArray[np.int64]] = {}

    def of(self, row: int) -> NDArray[np.int64]:
        codes = self._rows.get(row)
        if codes is None:
            text = " ".join(
                [self._titles[row], *(name for column in self._labels for name in column.of_row(row))]
            )
            words = {self._code(word) for word in tokenize(text)}
            codes = self._rows[row] = np.array(sorted(words), np.int64)
        return codes

    def _code(self, word: str) -> int:
        code = self._vocabulary.get(word)
        return self._vocabulary.setdefault(word, next(self._codes)) if code is None else code


_NO_CODES = np.empty(0, np.int64)
# By vocabulary, for views change with every count of events, and the texts of their items do not.
_words: WeakKeyDictionary[Vocabulary, _Words] = WeakKeyDictionary()


def _words_of(view: CatalogView) -> _Words:
    texts = (view.titles, view.categories, view.brands, view.tags)
    words = _words.get(view.vocabulary)
    if words is None or any(known is not own for known, own in zip(words.texts, texts, strict=True)):
        words = _words[view.vocabulary] = _Words(*texts)
    return words

"""Items that match a text, by BM25: what the server's index gives a search, without a server.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from collections import Counter
from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.ragged import Ragged
from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.text import tokenize
from endcap.sdk.vocabulary import Rows


SATURATION = 1.2
"""k1; higher lets repeated words count for more."""

LENGTH_NORMALISATION = 0.75
"""b, from 0 to 1; higher counts against long texts."""

MATCHES = 1000
"""At most this many matches are candidates of a search."""


class TextMatches:
    """The words of items, by title, description, brand and categories."""

    def __init__(self, items: ItemColumns) -> None:
        count = len(items.ids)
        texts = zip(
            items.titles,
            items.descriptions or [""] * count,
            items.brands or [""] * count,
            map(" ".join, items.categories),
            strict=True,
        )
        words = [Counter(tokenize(" ".join(parts))) for parts in texts]
        self._lengths = np.array([max(own.total(), 1) for own in words], np.float64)
        self._occurrences: dict[str, list[tuple[int, int]]] = {}
        for row, own in enumerate(words):
            for word, times in own.items():
                self._occurrences.setdefault(word, []).append((row, times))

    def of(self, texts: Sequence[str]) -> tuple[Ragged, NDArray[np.float32]]:
        """Return the matches of each text, best first, and how well each matches."""
        found = [self._matches(text) for text in texts]
        relevance = [scores for _, scores in found]
        return Ragged.of([rows for rows, _ in found]), np.concatenate([np.empty(0, np.float32), *relevance])

    def _matches(self, text: str) -> tuple[Rows, NDArray[np.float32]]:
        scores = np.zeros(len(self._lengths))
        relative = self._lengths / self._lengths.mean()
        for word in dict.fromkeys(tokenize(text)):
            occurrences = self._occurrences.get(word, [])
            if occurrences:
                rows, times = np.array(occurrences).T
                rarity = log(1 + (len(scores) - len(rows) + 0.5) / (len(rows) + 0.5))
                length = 1 - LENGTH_NORMALISATION + LENGTH_NORMALISATION * relative[rows]
                scores[rows] += rarity * times * (SATURATION + 1) / (times + SATURATION * length)
        rows = np.argsort(-scores, kind="stable")[:MATCHES]
        rows = rows[scores[rows] > 0].astype(np.int32)
        return rows, scores[rows].astype(np.float32)

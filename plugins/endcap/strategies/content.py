"""Content: items by their own texts, labels and prices, so that an item without purchases is found too.

The trainer of the same name makes a graph that turns the terms of an item and its price into a vector. The
vector has three parts, each of length 1, or of length 0 where the item lacks that information:

=============  ===================================================================================
text           close for the same words, brand, categories, tags, attributes
collaborative  content-to-collaborative mapping: close for contents that the same customers buy
price          close for prices that differ by a small factor
=============  ===================================================================================

An item's score is the sum of its cosines to the query's vector, part by part, each times the part's weight:

=============  ==================================  ====  =============  =====
task           vector of the query                 text  collaborative  price
=============  ==================================  ====  =============  =====
for-you, rank  the history, ``.6 ** age`` in       0     1              0
               moments
similar        the item of the page                1     0              .3
related        the items of the page or the cart   0     1              0
search         the query's text                    1     0              0
=============  ==================================  ====  =============  =====

The vectors are those of the catalog that the query is about, not of the training catalog. They are computed
once per view; for a view that updates another, only for the items that changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    Task,
    hookimpl,
    top,
)
from endcap.sdk.content_features import TermCounts, TermIndex, item_terms, moment_weights, text_terms
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import Profile, add_evidence, counted_events, evidence_pool


Vectors: TypeAlias = NDArray[np.float32]

DOCUMENTS_AT_ONCE = 128
"""How many items one run of the graph turns into vectors."""

WEIGHTS: Mapping[Task, tuple[float, float, float]] = MappingProxyType(
    {
        Task.FOR_YOU: (0.0, 1.0, 0.0),
        Task.RANK: (0.0, 1.0, 0.0),
        Task.SIMILAR: (1.0, 0.0, 0.3),
        Task.RELATED: (0.0, 1.0, 0.0),
        Task.SEARCH: (1.0, 0.0, 0.0),
    }
)
"""For each task, the weights of text, collaborative and price."""

SHORTEST = 1e-9
"""Keeps a vector of length zero from being divided by its length."""


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """The vectors that the graph gives the items of a catalog."""

    vectors: Vectors
    """Text, collaborative and price side by side, ``(rows, width)``."""

    silent: NDArray[np.bool_]
    """Which rows have neither text nor labels, ``(rows,)``."""


class Content:
    """Recommends by words, labels and prices; items that came in after the training too."""

    tasks = frozenset(WEIGHTS)

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._model = resources.model("content")
        self._terms = TermIndex(self._model.state["terms"])
        self._parts = _parts(self._model.state["widths"])
        self._items: WeakKeyDictionary[CatalogView, _Items] = WeakKeyDictionary()
        self._newest: CatalogView | None = None

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the nearest items, those of the page left out."""
        rankings = []
        for query, scores in zip(queries, self.score(queries, None, catalog), strict=True):
            scores[query.items] = np.nan
            ranking = top(scores, query)
            rankings.append(self._explained(ranking, query, catalog) if query.explain else ranking)
        return rankings

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by their cosines to the query's vector.

        An item without text and labels has no score; a query without text and history scores no item.
        """
        items = self._items_of(catalog)
        chosen = slice(None) if rows is None else rows
        query_vectors = self._query_vectors(queries, items.vectors, catalog)
        scores: Scores = query_vectors @ items.vectors[chosen].T
        scores[:, items.silent[chosen]] = np.nan
        scores[self._silent(query_vectors)] = np.nan
        return scores

    def _query_vectors(self, queries: Sequence[Query], vectors: Vectors, catalog: CatalogView) -> Vectors:
        """Return each query as a vector whose parts are as long as their weights."""
        query_vectors = np.zeros((len(queries), vectors.shape[1]), np.float32)
        texts = [index for index, query in enumerate(queries) if query.task is Task.SEARCH]
        query_vectors[texts] = self._encode(
            self._terms.count(text_terms(queries[index].text) for index in texts), np.full(len(texts), np.nan)
        )
        for own, query in zip(query_vectors, queries, strict=True):
            if query.task is not Task.SEARCH:
                profile = self._profile(query, catalog)
                own[:] = profile.weights @ vectors[profile.rows]
            for part, weight in zip(self._parts, WEIGHTS[query.task], strict=True):
                own[part] *= weight / max(float(np.linalg.norm(own[part])), SHORTEST)
        return query_vectors

    def _items_of(self, catalog: CatalogView) -> _Items:
        if catalog not in self._items:
            self._items[catalog] = self._made_of(catalog)
            self._newest = catalog
        return self._items[catalog]

    def _made_of(self, catalog: CatalogView) -> _Items:
        newest = self._newest
        changed = None if newest is None else catalog.changed_since(newest)
        if newest is None or changed is None:
            vectors = self._encode(self._terms.count(item_terms(catalog)), catalog.prices)
        elif len(changed) or len(catalog) != len(newest):
            vectors = self._brought_up_to_date(self._items[newest].vectors, changed, catalog)
        else:  # other counts of the same items
            return self._items[newest]
        return _Items(vectors, self._silent(vectors))

    def _brought_up_to_date(self, before: Vectors, changed: Rows, catalog: CatalogView) -> Vectors:
        before = before[: len(catalog)]
        vectors = np.empty((len(catalog), before.shape[1]), np.float32)
        vectors[: len(before)] = before
        terms = self._terms.count(item_terms(catalog, changed.tolist()))
        vectors[changed] = self._encode(terms, catalog.prices[changed])
        return vectors

    def _encode(self, documents: TermCounts, prices: NDArray[np.float64]) -> Vectors:
        """Return one vector a document, ``(documents, text + collaborative + price)``."""
        vectors = [np.empty((0, self._parts[-1].stop), np.float32)]
        for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
            stop = min(start + DOCUMENTS_AT_ONCE, len(documents))
            terms, counts = documents.table(start, stop)
            own_prices = prices[start:stop].astype(np.float32)
            outputs = self._model.run({"terms": terms, "counts": counts, "prices": own_prices})
            vectors.append(outputs["vectors"])
        return np.concatenate(vectors)

    def _silent(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Return the vectors that hold nothing but a price."""
        _, collaborative, _ = self._parts
        silent: NDArray[np.bool_] = np.all(vectors[:, : collaborative.stop] == 0, axis=1)
        return silent

    def _explained(self, ranking: Ranking, query: Query, catalog: CatalogView) -> Ranking:
        """Return the ranking with the items of the profile that add most to each score."""
        if query.task is Task.SEARCH:
            return replace(ranking, reasons=((Reason("matches_text"),),) * len(ranking))
        vectors, pool = self._items_of(catalog).vectors, evidence_pool(self._profile(query, catalog))
        shares = np.zeros((len(pool.rows), len(ranking)), np.float32)
        for part, weight in zip(self._parts, WEIGHTS[query.task], strict=True):
            if weight:
                shares += weight * (vectors[pool.rows, part] @ vectors[ranking.rows, part].T)
        return add_evidence(ranking, "similar_to", pool.rows, pool.weights[:, np.newaxis] * shares)

    def _profile(self, query: Query, catalog: CatalogView) -> Profile:
        if query.task in {Task.SIMILAR, Task.RELATED}:
            return Profile(query.items, np.ones(len(query.items), np.float32))
        positives = Positives.of_state(self._model.state, catalog.event_weights)
        events, weights = counted_events(query, positives)
        return Profile(events.rows, weights * moment_weights(events.times))


def _parts(widths: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of text, collaborative and price in a vector."""
    ends = np.cumsum(widths).tolist()
    return tuple(slice(end - width, end) for end, width in zip(ends, widths, strict=True))


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``content``."""
    register("content", Content)

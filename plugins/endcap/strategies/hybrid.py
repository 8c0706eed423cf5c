"""Hybrid: the weighted sum of what other strategies say, each brought to the same scale.

A source's scores ``s`` for one query become ``z = (s − mean) / standard deviation``, over every row of the
catalog that the source can score. Eligibility plays no part in it, so that a filter changes which items
are shown and never how they compare. A row that the source cannot score stands at the mean, ``z = 0``: that
is what is known of it, and at the bottom instead no new item would ever be shown. The score is ``Σ w z``.

The trainer of the same name chooses the weights; an operator may set them. A source whose model the shop
does not have is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import (
    CatalogView,
    Model,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Rows,
    Scores,
    ScoringStrategy,
    Task,
    hookimpl,
    parameter,
    top,
)
from endcap.sdk.errors import InvalidInput, ModelMissing


VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "popular_week": ("popular", {"window_days": 7}),
        "popular_month": ("popular", {"window_days": 30}),
    }
)
"""Sources that are another strategy with parameters; every other source is a strategy by its own name."""

FLAT = 1e-5
"""Scores that differ by less, relative to their mean, differ by rounding."""


@dataclass(frozen=True)
class HybridParameters:
    """The parameters of ``hybrid``."""

    weights: str = parameter(
        "",
        "What each source counts, as in 'ease=1 popular_week=0.5'; empty leaves it to the model. A source is"
        f" the name of a strategy that scores, or one of {', '.join(VARIANTS)}.",
    )


class Hybrid:
    """Recommends the items that several strategies together score best."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, parameters: HybridParameters) -> None:
        """Find the sources.

        Raises:
            InvalidInput: The weights cannot be read, or a source does not score for users.
            ModelMissing: There are no weights, or no source has its model.
        """
        self._model: Model | None = None
        if parameters.weights:
            weights = read_weights(parameters.weights)
        else:
            self._model = resources.model("hybrid")
            weights = self._model.state["weights"]
        self._weights = np.array(list(weights.values()), np.float32)
        # One that counts nothing is not asked.
        self._sources = [_source(name, resources) if weight else None for name, weight in weights.items()]
        if not any(self._sources):
            raise ModelMissing(
                f"the shop has a model for none of the sources of hybrid, which are {', '.join(weights)}:"
                " train and activate one"
            )

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores.

        The reason of an item is that of the source which adds most to its score and has one.
        """
        standard = self._standard(queries, catalog)
        scores = self._blend(standard)
        rankings = [top(row, query) for row, query in zip(scores, queries, strict=True)]
        return [
            self._explain(ranking, query, standard[:, number], catalog) if query.explain else ranking
            for number, (ranking, query) in enumerate(zip(rankings, queries, strict=True))
        ]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the weighted sum; those that no source can score have no score."""
        scores = self._blend(self._standard(queries, catalog))
        return scores if rows is None else scores[:, rows]

    def _standard(self, queries: Sequence[Query], catalog: CatalogView) -> Scores:
        """Return the standard scores, NaN where there is none, ``(sources, queries, rows)``."""
        standard = np.full((len(self._sources), len(queries), len(catalog)), np.nan, np.float32)
        for place, source in enumerate(self._sources):
            if source is not None:
                standard[place] = standardize(source.score(_for_you(queries), None, catalog))
        return standard

    def _blend(self, standard: Scores) -> Scores:
        filled = np.nan_to_num(standard)
        if self._model is None:
            blended = np.tensordot(self._weights, filled, axes=1)
        else:
            blended = self._model.run({"standard": filled})["scores"]
        scores: Scores = np.where(np.isnan(standard).all(axis=0), np.float32(np.nan), blended)
        return scores

    def _explain(self, ranking: Ranking, query: Query, standard: Scores, catalog: CatalogView) -> Ranking:
        if not len(ranking):
            return ranking
        asked = replace(
            query, task=Task.FOR_YOU, candidates=ranking.rows, limit=len(ranking), items=ranking.rows[:0]
        )
        reasons = [
            {} if source is None else _reasons_by_row(source.recommend([asked], catalog)[0])
            for source in self._sources
        ]
        shares = self._weights[:, None] * np.nan_to_num(standard[:, ranking.rows])  # (sources, ranking)
        return Ranking(
            ranking.rows,
            ranking.scores,
            tuple(
                _first_reasons(row, own, reasons)
                for row, own in zip(ranking.rows.tolist(), shares.T, strict=True)
            ),
        )


def read_weights(text: str) -> dict[str, float]:
    """Read ``source=weight`` pairs, between them spaces.

    Raises:
        InvalidInput: The text has another form, a source twice, or a weight below zero.
    """
    weights: dict[str, float] = {}
    for pair in text.split():
        name, equals, number = pair.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = np.nan
        if not (name and equals and 0 <= weight < np.inf) or name in weights:
            raise InvalidInput(
                f"{pair!r} is no weight: write every source once, as in 'ease=1 popular_week=0.5'",
                field="weights",
            )
        weights[name] = weight
    if not any(weights.values()):
        raise InvalidInput("no source has a weight: write one, as in 'ease=1'", field="weights")
    return weights


def standardize(scores: Scores) -> Scores:
    """Bring the scores of each query to mean 0 and deviation 1; where all are equal, to 0.

    Args:
        scores: ``(queries, rows)``; NaN takes no part and stays.
    """
    known = ~np.isnan(scores)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, scores, 0).sum(axis=1, keepdims=True) / count
    centred = np.where(known, scores - mean, 0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    flat = deviation <= FLAT * np.abs(mean)
    standard: Scores = np.where(flat, 0, centred / np.where(flat, 1, deviation)).astype(np.float32)
    standard[~known] = np.nan
    return standard


def _source(name: str, resources: Resources) -> ScoringStrategy | None:
    """Return the strategy behind a source, None where it has no model."""
    strategy, parameters = VARIANTS.get(name, (name, {}))
    try:
        source = resources.strategy(strategy, parameters)
    except ModelMissing:
        return None
    if not isinstance(source, ScoringStrategy) or Task.FOR_YOU not in source.tasks:
        raise InvalidInput(f"{name!r} does not score items for users: leave it out", field="weights")
    return source


def _for_you(queries: Sequence[Query]) -> list[Query]:
    """Return the queries as sources that rank no lists understand them."""
    return [replace(query, task=Task.FOR_YOU) for query in queries]


def _reasons_by_row(ranking: Ranking) -> dict[int, tuple[Reason, ...]]:
    return dict(zip(ranking.rows.tolist(), ranking.reasons, strict=bool(ranking.reasons)))


def _first_reasons(
    row: int, shares: NDArray[np.float32], reasons: Sequence[Mapping[int, tuple[Reason, ...]]]
) -> tuple[Reason, ...]:
    """Return the reasons of the source with the largest positive share that has any for the row."""
    strongest: Iterable[int] = np.argsort(-shares, kind="stable").tolist()
    found = (reasons[place].get(row, ()) for place in strongest if shares[place] > 0)
    return next(filter(None, found), ())


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``hybrid``."""
    register("hybrid", Hybrid, HybridParameters)

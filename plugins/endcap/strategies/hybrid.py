"""Hybrid: the weighted sum of the z-scores of other strategies, its base models.

A base model's scores ``s`` for one query become ``z = (s − mean) / standard deviation``, over every row of
the catalog that the base model can score. Eligibility does not enter the mean or the deviation, so a filter
changes which items are shown and never how they compare. A row without a score that the base model's bundle
knows gets the least score of the query, for the model found nothing that speaks for it. Any other row
without a score gets the mean, ``z = 0``; if it got the least score, no new item would ever be shown. The
score is ``Σ w z``.

The trainer of the same name chooses the weights; an operator may set them. A base model for which the shop
has no bundle is left out.
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
    Vocabulary,
    align,
    hookimpl,
    parameter,
    top,
)
from endcap.sdk.errors import InvalidInput, ModelMissing
from endcap.sdk.vocabulary import UNKNOWN


VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "popular_week": ("popular", {"window_days": 7}),
        "popular_month": ("popular", {"window_days": 30}),
    }
)
"""Base models that are a strategy with parameters; any other base model is a strategy's name."""

FLAT = 1e-5
"""Scores that differ by less, relative to their mean, differ by rounding."""


@dataclass(frozen=True)
class HybridParameters:
    """The parameters of ``hybrid``."""

    weights: str = parameter(
        "",
        "Weight w of each base model, as in 'ease=1 popular_week=0.5'; higher moves its best items up."
        " Empty takes the weights of the trained model. A base model is the name of a strategy that scores,"
        f" or one of {', '.join(VARIANTS)}.",
    )


class Hybrid:
    """Recommends the items that several strategies together score best."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, parameters: HybridParameters) -> None:
        """Find the base models.

        Raises:
            InvalidInput: The weights cannot be read, or a base model does not score for users.
            ModelMissing: No weights are set and no model is active, or no base model has its bundle.
        """
        self._model: Model | None = None
        if parameters.weights:
            weights = read_weights(parameters.weights)
        else:
            self._model = resources.model("hybrid")
            weights = self._model.state["weights"]
        self._weights = np.array(list(weights.values()), np.float32)
        # A base model of weight 0 is not asked.
        self._base_models = [
            _base_model(name, resources) if weight else None for name, weight in weights.items()
        ]
        # Asked for again here, for a strategy does not tell which items its model knows.
        self._vocabularies = [
            _vocabulary(name, resources) if weight else None for name, weight in weights.items()
        ]
        if not any(self._base_models):
            raise ModelMissing(
                f"the shop has a model for none of the base models of hybrid, which are {', '.join(weights)}:"
                " train and activate one"
            )

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores.

        An item gets the reasons of the base model that adds most to its score, among those that give any.
        """
        z_scores = self._z_scores(queries, catalog)
        scores = self._blend(z_scores)
        rankings = [top(row, query) for row, query in zip(scores, queries, strict=True)]
        return [
            self._explain(ranking, query, z_scores[:, number], catalog) if query.explain else ranking
            for number, (ranking, query) in enumerate(zip(rankings, queries, strict=True))
        ]

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items by the weighted sum of z-scores; NaN where no base model scores the item."""
        scores = self._blend(self._z_scores(queries, catalog))
        return scores if rows is None else scores[:, rows]

    def _z_scores(self, queries: Sequence[Query], catalog: CatalogView) -> Scores:
        """Return the z-scores, ``(base models, queries, rows)``; NaN where a base model has no score."""
        z_scores = np.full((len(self._base_models), len(queries), len(catalog)), np.nan, np.float32)
        for place, base_model in enumerate(self._base_models):
            if base_model is not None:
                scores = base_model.score(_for_you(queries), None, catalog)
                vocabulary = self._vocabularies[place]
                if vocabulary is not None:
                    known = align(vocabulary, catalog.vocabulary).to_source != UNKNOWN
                    scores = fill_with_least(scores, known)
                z_scores[place] = standardize(scores)
        return z_scores

    def _blend(self, z_scores: Scores) -> Scores:
        filled = np.nan_to_num(z_scores)
        if self._model is None:
            blended = np.tensordot(self._weights, filled, axes=1)
        else:
            blended = self._model.run({"z_scores": filled})["scores"]
        scores: Scores = np.where(np.isnan(z_scores).all(axis=0), np.float32(np.nan), blended)
        return scores

    def _explain(self, ranking: Ranking, query: Query, z_scores: Scores, catalog: CatalogView) -> Ranking:
        if not len(ranking):
            return ranking
        asked = replace(
            query, task=Task.FOR_YOU, candidates=ranking.rows, limit=len(ranking), items=ranking.rows[:0]
        )
        reasons = [
            {} if base_model is None else _reasons_by_row(base_model.recommend([asked], catalog)[0])
            for base_model in self._base_models
        ]
        shares = self._weights[:, None] * np.nan_to_num(z_scores[:, ranking.rows])  # (base models, ranking)
        return Ranking(
            ranking.rows,
            ranking.scores,
            tuple(
                _first_reasons(row, own, reasons)
                for row, own in zip(ranking.rows.tolist(), shares.T, strict=True)
            ),
        )


def read_weights(text: str) -> dict[str, float]:
    """Read ``base_model=weight`` pairs that spaces separate.

    Raises:
        InvalidInput: The text has another form, names a base model twice, has a weight below zero or no
            weight above zero.
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
                f"{pair!r} is no weight: write every base model once, as in 'ease=1 popular_week=0.5'",
                field="weights",
            )
        weights[name] = weight
    if not any(weights.values()):
        raise InvalidInput("no base model has a weight: write one, as in 'ease=1'", field="weights")
    return weights


def standardize(scores: Scores) -> Scores:
    """Return z-scores: each query's scores at mean 0 and standard deviation 1, or all 0 if they are equal.

    Args:
        scores: ``(queries, rows)``; a NaN does not count towards the mean and stays NaN.
    """
    known = ~np.isnan(scores)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, scores, 0).sum(axis=1, keepdims=True) / count
    centred = np.where(known, scores - mean, 0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    flat = deviation <= FLAT * np.abs(mean)
    z_scores: Scores = np.where(flat, 0, centred / np.where(flat, 1, deviation)).astype(np.float32)
    z_scores[~known] = np.nan
    return z_scores


def fill_with_least(scores: Scores, known: NDArray[np.bool_]) -> Scores:
    """Give the known items without a score the least score of their query.

    Args:
        scores: ``(queries, rows)``; a query without any score keeps none.
        known: Whether the base model knows the item, ``(rows,)``.
    """
    least = np.where(np.isnan(scores), np.inf, scores).min(axis=1, initial=np.inf, keepdims=True)
    filled: Scores = np.where(np.isnan(scores) & known & np.isfinite(least), least, scores)
    return filled.astype(np.float32)


def _vocabulary(name: str, resources: Resources) -> Vocabulary | None:
    """Return the items that a base model's bundle knows, None if the base model has no bundle of its name."""
    if name in VARIANTS:
        return None
    try:
        return resources.model(name).vocabulary
    except ModelMissing:
        return None


def _base_model(name: str, resources: Resources) -> ScoringStrategy | None:
    """Return the strategy behind a base model's name, None if its bundle is missing."""
    strategy, parameters = VARIANTS.get(name, (name, {}))
    try:
        base_model = resources.strategy(strategy, parameters)
    except ModelMissing:
        return None
    if not isinstance(base_model, ScoringStrategy) or Task.FOR_YOU not in base_model.tasks:
        raise InvalidInput(f"{name!r} does not score items for users: leave it out", field="weights")
    return base_model


def _for_you(queries: Sequence[Query]) -> list[Query]:
    """Return the queries with the task that every base model answers."""
    return [replace(query, task=Task.FOR_YOU) for query in queries]


def _reasons_by_row(ranking: Ranking) -> dict[int, tuple[Reason, ...]]:
    return dict(zip(ranking.rows.tolist(), ranking.reasons, strict=bool(ranking.reasons)))


def _first_reasons(
    row: int, shares: NDArray[np.float32], reasons: Sequence[Mapping[int, tuple[Reason, ...]]]
) -> tuple[Reason, ...]:
    """Return the reasons of the base model with the largest positive share that gives any for the row."""
    strongest: Iterable[int] = np.argsort(-shares, kind="stable").tolist()
    found = (reasons[place].get(row, ()) for place in strongest if shares[place] > 0)
    return next(filter(None, found), ())


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``hybrid``."""
    register("hybrid", Hybrid, HybridParameters)

"""Profiles: the evidence of each query as weighted items, and a model's scores for them.

Models that know no users share this. Most score an item as the weighted sum of its similarities to the items
of a profile, and differ in the similarities and in the weights; others solve for a user from the profile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import CatalogView
from endcap.sdk.features import age_decay, last_positions
from endcap.sdk.model import Model, Role, TensorSpec
from endcap.sdk.positives import Positives, weigh_pairs
from endcap.sdk.query import NO_ROWS, History, Query, Ranking, Reason
from endcap.sdk.vocabulary import UNKNOWN, Rows, Scores, align


EVIDENCE = 3
"""At most this many items are given as the reason for another."""

EVIDENCE_POOL = 100
"""The number of items of a profile, the last ones, that evidence is chosen from."""

PROFILE_INPUTS: Mapping[str, TensorSpec] = MappingProxyType(
    {
        "rows": TensorSpec(("items",), "int64", Role.ITEMS),
        "weights": TensorSpec(("profiles", "items"), "float32", Role.VALUES),
    }
)
"""The inputs of a graph that scores profiles."""

PROFILE_OPTION = TensorSpec(("profiles",), "bool", Role.MASK)
"""A further input of such a graph, one value a profile: an option of ``score_profiles``."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The items of a query's profile and their weights."""

    rows: Rows
    """Catalog rows, the latest last, possibly repeated; repeated rows add up."""

    weights: NDArray[np.float32]
    """One a row."""


def counted_events(query: Query, positives: Positives) -> tuple[History, NDArray[np.float32]]:
    """Return the events of the history that are evidence of preference, and the weight of each.

    Args:
        query: Holds the history.
        positives: The definition that the model was trained with.
    """
    weights = positives.weigh(query.history.types, query.history.values)
    counted = weights != 0
    return query.history.of(counted), weights[counted]


def chosen_rows(query: Query, positives: Positives) -> Rows:
    """Return the rows of the history's events that speak for their items, oldest first."""
    events, weights = counted_events(query, positives)
    return events.rows[weights > 0]


def distinct_history(query: Query, positives: Positives, half_life_days: float = 0.0) -> Profile:
    """Return each item of the history once, in the order of its last event.

    Args:
        query: Holds the history.
        positives: The definition that the model was trained with.
        half_life_days: The age of the last event at which an item counts half; 0 is no decay.
    """
    events, weights = counted_events(query, positives)
    pairs = weigh_pairs(np.zeros(len(events), np.int64), events.rows, weights, events.times)
    last = last_positions(events.rows)
    order = np.argsort(events.rows[last], kind="stable")
    places = np.searchsorted(events.rows[last][order], pairs.rows)
    by_last = np.argsort(last[order][places])
    decay = age_decay(pairs.times, query.time, half_life_days)
    return Profile(pairs.rows[by_last], (pairs.weights * decay)[by_last])


def profile_scores(item_count: int) -> Mapping[str, TensorSpec]:
    """Return the outputs of a graph that scores every item for each profile."""
    return {"scores": TensorSpec(("profiles", item_count), "float32", Role.VALUES)}


def score_profiles(
    model: Model,
    profiles: Sequence[Profile],
    rows: Rows | None,
    catalog: CatalogView,
    options: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Scores:
    """Score items for each profile.

    Args:
        model: Its graph takes ``PROFILE_INPUTS``, and for each of ``options`` a ``PROFILE_OPTION``, and
            gives ``profile_scores``.
        profiles: One a query; items that the model does not know are skipped.
        rows: The items to score; None for the whole catalog.
        catalog: The view that all rows belong to.
        options: Further inputs of the graph, one value a profile.

    Returns:
        ``(profiles, rows)``; NaN for items that the model does not know, and throughout for a profile
        in which it knows nothing.
    """
    alignment = align(model.vocabulary, catalog.vocabulary)
    in_model = [alignment.to_source[profile.rows] for profile in profiles]
    owners = np.repeat(np.arange(len(profiles)), [len(rows) for rows in in_model])
    profile_rows = np.concatenate([NO_ROWS, *in_model])
    known = profile_rows != UNKNOWN
    if not known.any():
        return np.full((len(profiles), len(catalog if rows is None else rows)), np.nan, np.float32)
    # Every profile of the batch points into one list of distinct items, so that a long history
    # beside many short ones costs no padding.
    distinct, places = np.unique(profile_rows[known], return_inverse=True)
    weights = np.zeros((len(profiles), len(distinct)), np.float32)
    np.add.at(
        weights,
        (owners[known], places),
        np.concatenate([profile.weights for profile in profiles])[known],
    )
    outputs = model.run({"rows": distinct.astype(np.int64), "weights": weights, **(options or {})})
    scores = np.where(weights.any(axis=1, keepdims=True), outputs["scores"], np.float32(np.nan))
    spread = alignment.spread(scores)
    return spread if rows is None else spread[:, rows]


def explain_profiles(
    model: Model,
    profiles: Sequence[Profile],
    rankings: Sequence[Ranking],
    queries: Sequence[Query],
    catalog: CatalogView,
    *,
    options: Mapping[str, NDArray[np.bool_]] | None = None,
) -> list[Ranking]:
    """Return the rankings, those of queries that want reasons with a reason ``bought_together`` a row.

    Its evidence is what adds most to the row's score, out of the last ``EVIDENCE_POOL`` items of the
    profile; a row that none of them speaks for has no reason.

    Args:
        model: As for ``score_profiles``.
        profiles: What the rankings were made for.
        rankings: What is explained.
        queries: Whose answers they are.
        catalog: The view that all rows belong to.
        options: Further inputs of the graph, one value a profile.
    """
    explained = []
    for number, (profile, ranking, query) in enumerate(zip(profiles, rankings, queries, strict=True)):
        own = {name: values[[number]] for name, values in (options or {}).items()}
        explained.append(
            _explain(model, profile, ranking, catalog, own) if query.explain and len(ranking) else ranking
        )
    return explained


def evidence_pool(profile: Profile) -> Profile:
    """Return the items that evidence is chosen of, each once, with the sum of its weights."""
    pool = slice(-EVIDENCE_POOL, None)
    distinct, places = np.unique(profile.rows[pool], return_inverse=True)
    return Profile(distinct, np.bincount(places, profile.weights[pool]).astype(np.float32))


def add_evidence(ranking: Ranking, kind: str, rows: Rows, shares: Scores) -> Ranking:
    """Return the ranking with a reason a row, whose evidence is what adds most to the row's score.

    Args:
        ranking: What is explained; a row to which nothing adds has no reason.
        kind: The kind of the reasons.
        rows: The items that may be evidence.
        shares: What each of them adds to each row of the ranking, ``(items, ranking)``.
    """
    reasons = []
    for own in shares.T:
        strongest = np.argsort(-own, kind="stable")[:EVIDENCE]
        evidence = rows[strongest[own[strongest] > 0]]
        reasons.append((Reason(kind, evidence),) if len(evidence) else ())
    return replace(ranking, reasons=tuple(reasons))


def _explain(
    model: Model,
    profile: Profile,
    ranking: Ranking,
    catalog: CatalogView,
    options: Mapping[str, NDArray[np.bool_]],
) -> Ranking:
    pool = evidence_pool(profile)
    # A score is a sum over the profile, so each item alone gives its share.
    alone = [Profile(pool.rows[[place]], pool.weights[[place]]) for place in range(len(pool.rows))]
    repeated = {name: np.repeat(value, len(alone)) for name, value in options.items()}
    shares = np.nan_to_num(score_profiles(model, alone, ranking.rows, catalog, repeated))
    return add_evidence(ranking, "bought_together", pool.rows, shares)

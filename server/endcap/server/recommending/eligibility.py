"""Eligibility: builds the query, with the rows that may be shown decided before any is ranked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from endcap.catalog.configuration.placements import Placement
from endcap.sdk import NO_ROWS, CatalogView, Eligibility, History, Query, Rows, Task
from endcap.sdk.query import NO_SCORES
from endcap.server.recommending.conditions import Conditions
from endcap.server.recommending.lookups import Matches
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.serving.checks import Dropped
from endcap.server.serving.masks import Eligible, Masks


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The query, and how it came about."""

    query: Query

    removed: dict[str, int]
    """Rows that each step removed and no earlier one had, in the order applied; without those that the
    filters of rules removed."""

    left: int
    """Rows that may be shown after all steps, those of rules included."""

    missing_item_ids: tuple[str, ...]
    """Items that the request names and the catalog does not hold."""

    dropped: tuple[Dropped, ...]
    """Candidates of the request that may not be shown; empty unless the trace is wanted."""


def build_query(
    request: RecommendationRequest,
    view: CatalogView,
    placement: Placement,
    *,
    history: History,
    seen: Rows,
    expired: Rows,
    conditions: Conditions,
    masks: Masks,
    eligible: Eligible,
    matches: Matches | None,
    limit: int,
) -> Asked:
    """Turn a request into the query of its placement.

    Args:
        request: The question, checked.
        view: The view that all rows belong to.
        placement: The placement.
        history: What the user did.
        seen: The rows that count as seen by the user.
        expired: The rows that the view still calls available, and that can be bought no more.
        conditions: What every item must meet.
        masks: The masks of the view.
        eligible: What the conditions let through.
        matches: What matches the text, for the task search.
        limit: How many items are wanted.
    """
    vocabulary = view.vocabulary
    items = np.unique(vocabulary.known(request.item_ids))
    items = items[~view.deleted[items]]
    candidates: Rows | None = None
    if placement.task is Task.RANK:
        candidates = vocabulary.known(request.candidate_item_ids)
    elif placement.task is Task.RECENTLY_VIEWED:
        candidates = np.unique(history.of_type("view"))
    elif matches is not None:
        candidates = matches.rows
    # A page before may have come from a server that knows more items.
    shown = np.array(request.shown, np.int32)
    shown = shown[shown < len(view)]
    # By name, in the order that the trace counts them.
    exclusions: dict[str, Rows] = {
        "expired": expired,
        "excluded": np.concatenate([vocabulary.known(request.exclude_item_ids), items]),
        "seen": seen,
        "shown": shown,
    }
    if view.has_groups:
        exclusions["group"] = view.with_variants(np.concatenate([items, seen, shown]))
    may_be_shown, excluded = eligibility(eligible, candidates, exclusions)
    query = Query(
        task=placement.task,
        limit=limit,
        time=request.time,
        eligible=may_be_shown,
        history=history,
        items=items,
        candidates=candidates,
        relevance=NO_SCORES if matches is None else matches.relevance,
        text=request.text,
        context=request.context,
        explain=request.explain,
        seed=int.from_bytes(hashlib.sha256(request.request_id.encode()).digest()[:8]),
    )
    named = dict.fromkeys((*request.item_ids, *request.candidate_item_ids))
    unavailable = len(view) - int(np.count_nonzero(view.available))
    return Asked(
        query,
        removed={"available": unavailable} | conditions.removed(eligible) | excluded if request.trace else {},
        left=eligible.count - sum(excluded.values()),
        missing_item_ids=tuple(
            item_id for item_id in named if item_id not in vocabulary or view.deleted[vocabulary.row(item_id)]
        ),
        dropped=_dropped(candidates, view, masks, conditions, exclusions)
        if candidates is not None and placement.task is Task.RANK and request.trace
        else (),
    )


def eligibility(
    eligible: Eligible, candidates: Rows | None, exclusions: Mapping[str, Rows]
) -> tuple[Eligibility, dict[str, int]]:
    """Return the eligibility of one query: the rows that pass its filters, without the exclusions.

    The variants of a product count as one: where one is on the page, seen or shown, none is shown.

    Args:
        eligible: What the filters let through; its mask is shared by all queries with the same ones.
        candidates: The rows that meet the task's own condition; None if the task has no condition.
        exclusions: The rows that each step of this query leaves out, by its name.

    Returns:
        The rows that may be shown, and how many rows each step removed that no earlier one had removed.
    """
    removed: dict[str, int] = {}
    if candidates is not None:
        candidates = np.unique(candidates[eligible.mask[candidates]])
        removed["task"] = eligible.count - len(candidates)
    excluded = NO_ROWS
    for name, rows in exclusions.items():
        allowed = rows[eligible.mask[rows]]
        if candidates is not None:
            allowed = allowed[np.isin(allowed, candidates)]
        widened = np.union1d(excluded, allowed).astype(np.int32, copy=False)
        removed[name] = len(widened) - len(excluded)
        excluded = widened
    return Eligibility(eligible.mask, excluded), removed


def _dropped(
    candidates: Rows, view: CatalogView, masks: Masks, conditions: Conditions, exclusions: Mapping[str, Rows]
) -> tuple[Dropped, ...]:
    """Return the candidates that may not be shown, by the first step that leaves them out.

    Deleted ones are not among them: they are missing.
    """
    allowed = {"available": view.available}
    allowed |= {name: masks.of(condition) for name, condition in conditions.named.items()}
    if conditions.ruled:
        allowed["rule"] = masks.eligible(list(conditions.ruled.values())).mask
    outside = [(name, np.flatnonzero(~mask).astype(np.int32)) for name, mask in allowed.items()]
    left = candidates[~view.deleted[candidates]]
    dropped = []
    for name, rows in (*outside, *exclusions.items()):
        is_out = np.isin(left, rows)
        if is_out.any():
            dropped.append(Dropped(name, left[is_out]))
        left = left[~is_out]
    return tuple(dropped)

"""What is asked of a strategy: the query, with the rows that may be shown decided before any is ranked."""

import hashlib
from dataclasses import dataclass

import numpy as np

from endcap.sdk import NO_ROWS, CatalogView, Eligibility, History, Query, Rows, Task
from endcap.sdk.query import NO_SCORES
from endcap.server.conditions import Conditions
from endcap.server.ladders import Ladder
from endcap.server.lookups import Matches
from endcap.server.masks import Eligible
from endcap.server.request import RecommendationRequest


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The query, and how it came about."""

    query: Query

    removed: dict[str, int]
    """Rows that each step removed that none before it had removed, in the order applied. What the filters of
    rules removed is not among them."""

    left: int
    """Rows that may be shown after all steps, those of rules included."""

    missing_item_ids: tuple[str, ...]
    """Items that the request names and the catalog does not hold."""


def ask(
    request: RecommendationRequest,
    view: CatalogView,
    ladder: Ladder,
    *,
    history: History,
    seen: Rows,
    conditions: Conditions,
    eligible: Eligible,
    matches: Matches | None,
    limit: int,
) -> Asked:
    """Turn a request into the query of its placement.

    Args:
        request: The question, checked.
        view: The view that all rows belong to.
        ladder: The placement.
        history: What the user did.
        seen: The rows that count as seen by the user.
        conditions: What every item must meet.
        eligible: What the conditions let through.
        matches: What matches the text, for the task search.
        limit: How many items are wanted.
    """
    vocabulary = view.vocabulary
    items = np.unique(vocabulary.known(request.item_ids))
    candidates: Rows | None = None
    if ladder.task is Task.RANK:
        candidates = vocabulary.known(request.candidate_item_ids)
    elif ladder.task is Task.RECENTLY_VIEWED:
        candidates = np.unique(history.of_type("view"))
    elif matches is not None:
        candidates = matches.rows
    # A page before may have come from a server that knows more items.
    shown = np.array(request.shown, np.int32)
    may_be_shown, excluded = eligibility(
        eligible,
        candidates,
        Exclusions(
            requested=vocabulary.known(request.exclude_item_ids),
            page=items,
            seen=seen,
            shown=shown[shown < len(view)],
        ),
        view,
    )
    query = Query(
        task=ladder.task,
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
        removed={"available": unavailable} | conditions.removed(eligible) | excluded,
        left=eligible.count - sum(excluded.values()),
        missing_item_ids=tuple(item_id for item_id in named if item_id not in vocabulary),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Exclusions:
    """The rows that one query leaves out, by why, in the order that the trace counts them."""

    requested: Rows
    """Named by the caller."""

    page: Rows
    """On the page already: the item of a product page, or the cart."""

    seen: Rows
    """Bought by the user, or whatever else the placement calls seen."""

    shown: Rows
    """On the pages before."""


def eligibility(
    eligible: Eligible, candidates: Rows | None, exclusions: Exclusions, view: CatalogView
) -> tuple[Eligibility, dict[str, int]]:
    """Return what one query may show: what its filters let through, less the exclusions.

    The variants of a product count as one: where one is on the page, seen or shown, none is shown.

    Args:
        eligible: What the filters let through; its mask is shared by all queries with the same ones.
        candidates: The rows that meet the task's own condition; None where it has none.
        exclusions: What this query leaves out.
        view: The view that all rows belong to.

    Returns:
        What may be shown, and how many rows each step removed that none before it had removed.
    """
    removed: dict[str, int] = {}
    if candidates is not None:
        candidates = np.unique(candidates[eligible.mask[candidates]])
        removed["task"] = eligible.count - len(candidates)
    steps = [
        ("excluded", np.concatenate([exclusions.requested, exclusions.page])),
        ("seen", exclusions.seen),
        ("shown", exclusions.shown),
    ]
    if view.has_groups:
        known = np.concatenate([exclusions.page, exclusions.seen, exclusions.shown])
        steps.append(("group", view.with_variants(known)))
    excluded = NO_ROWS
    for name, rows in steps:
        allowed = rows[eligible.mask[rows]]
        if candidates is not None:
            allowed = allowed[np.isin(allowed, candidates)]
        widened = np.union1d(excluded, allowed).astype(np.int32, copy=False)
        removed[name] = len(widened) - len(excluded)
        excluded = widened
    return Eligibility(eligible.mask, excluded), removed

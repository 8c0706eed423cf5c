"""Checks on plugin results: items that a strategy must not return are dropped from the answer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import NO_RANKING, Query, Ranking, Reason


_KIND = re.compile(
    r"(?=.{1,64}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*"
)  # the kind of a reason, as the contract defines it
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True, eq=False)
class Dropped:
    """Items that a strategy or the caller named and that were not allowed, all for one cause."""

    cause: str
    """Of a strategy's items ``malformed``, ``foreign``, ``not_finite``, ``duplicate``, ``ineligible`` or
    ``capped``; of the caller's the name of a filter, or ``rule``."""

    rows: NDArray[np.integer[Any]]
    """As the strategy named them; some may lie outside the view."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckedRanking:
    """The ranking of a strategy, without the items that it must not return."""

    ranking: Ranking

    ranked: int
    """Items that the strategy named."""

    dropped: tuple[Dropped, ...]


def checked(ranking: Ranking, query: Query) -> CheckedRanking:
    """Drop the items that a strategy must not return.

    Returns:
        The ranking without foreign, ineligible and repeated rows and without scores that are no
        numbers, cut to the limit; and the items that were dropped.
    """
    rows, scores = np.asarray(ranking.rows), np.asarray(ranking.scores)
    if (
        rows.ndim != 1
        or rows.shape != scores.shape
        or rows.dtype.kind not in "iu"
        or scores.dtype.kind != "f"
    ):
        return CheckedRanking(NO_RANKING, 0, (Dropped("malformed", np.array([-1])),))
    with np.errstate(over="ignore"):  # what is too large to be sent is infinite, and dropped below
        scores = scores.astype(np.float32)
    dropped: list[Dropped] = []
    kept = np.arange(len(rows))

    def keep(allowed: NDArray[np.bool_], cause: str) -> None:
        nonlocal kept
        if not allowed.all():
            dropped.append(Dropped(cause, rows[kept[~allowed]]))
            kept = kept[allowed]

    keep((rows >= 0) & (rows < len(query.eligible.mask)), "foreign")
    keep(np.isfinite(scores[kept]), "not_finite")
    first = np.zeros(len(kept), np.bool_)
    first[np.unique(rows[kept], return_index=True)[1]] = True
    keep(first, "duplicate")
    keep(query.eligible.allows(rows[kept]), "ineligible")
    if query.candidates is not None:
        keep(np.isin(rows[kept], query.candidates), "ineligible")
    keep(np.arange(len(kept)) < query.limit, "capped")
    allowed = Ranking(
        rows[kept].astype(np.int32),
        scores[kept],
        _sound_reasons(ranking.reasons, kept, len(rows), len(query.eligible.mask)) if query.explain else (),
    )
    return CheckedRanking(allowed, len(rows), tuple(dropped))


def _sound_reasons(
    reasons: object, kept: NDArray[np.intp], ranked: int, row_count: int
) -> tuple[tuple[Reason, ...], ...]:
    """Return the reasons of the rows that are kept; empty unless every ranked row has its own."""
    if not isinstance(reasons, tuple | list) or len(reasons) != ranked:
        return ()
    return tuple(tuple(_sound(reasons[place], row_count)) for place in kept)


def _sound(reasons: object, row_count: int) -> Iterator[Reason]:
    """Yield the reasons of an item that can be sent: a kind, rows as evidence, a short text."""
    for reason in reasons if isinstance(reasons, tuple | list) else ():
        try:
            kind, evidence = reason.kind, np.asarray(reason.evidence)
            is_kind = _KIND.fullmatch(kind)
            text = str.encode(reason.text).decode()
        except Exception:  # noqa: BLE001, S112 - a plugin's object may raise any error
            continue
        are_rows = evidence.ndim == 1 and (evidence.dtype.kind in "iu" or not len(evidence))
        is_short = len(text) <= _LONGEST_REASON
        if is_kind and is_short and are_rows and ((evidence >= 0) & (evidence < row_count)).all():
            yield Reason(kind, evidence.astype(np.int32), text)

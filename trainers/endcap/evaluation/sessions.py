"""Sessions: every prefix predicts the next item. No item is masked, for visitors return to what they saw."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.data import CaseHistories, EvaluationData, HeldOut, TuningData, in_time_order
from endcap.evaluation.datasets import Sessions
from endcap.evaluation.headline import UNDATED, headline
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.sdk.catalog_view import EventColumns
from endcap.sdk.errors import InvalidInput


Split = TypeVar("Split", bound=HeldOut)

VALIDATION_SHARE = 0.1
"""The share of the sessions, the newest ones, that validation holds out."""


def next_in_session(data_set: Sessions) -> EvaluationData:
    """Train on all sessions, and predict the item that follows each test prefix."""
    targets = Ragged(data_set.targets, np.arange(len(data_set.prefixes) + 1))
    return _hold_out(
        EvaluationData,
        data_set,
        "next item of a session",
        trained=data_set.sessions,
        prefixes=data_set.prefixes,
        targets=targets,
        owners=data_set.owners,
    )


def validate_on_newest(data_set: Sessions) -> TuningData:
    """Hold out the newest sessions to train on, and predict the item that follows each of their prefixes.

    Raises:
        InvalidInput: There are too few sessions to hold one out, or those held out have one item each.
    """
    held = data_set.ages < max(round(VALIDATION_SHARE * len(data_set.ages)), 1)
    sessions = data_set.sessions.take(np.flatnonzero(held))
    prefixes, targets, owners = _prefixes(sessions)
    if held.all() or not len(prefixes):
        raise InvalidInput(
            f"{data_set.name} has too few sessions to hold a tenth of them out for validation: collect more"
        )
    return _hold_out(
        TuningData,
        data_set,
        "next item of a session, validation on the newest tenth of the sessions",
        trained=data_set.sessions.take(np.flatnonzero(~held)),
        prefixes=prefixes,
        targets=targets,
        owners=owners,
    )


def _hold_out(
    kind: type[Split],
    data_set: Sessions,
    protocol: str,
    *,
    trained: Ragged,
    prefixes: Ragged,
    targets: Ragged,
    owners: NDArray[np.int64],
) -> Split:
    train = in_time_order(_views(trained))
    histories = CaseHistories(_views(prefixes), prefixes.offsets)
    eligible = np.ones(len(data_set.items.ids), np.bool_)
    return kind(
        name=data_set.name,
        protocol=protocol,
        items=data_set.items,
        events=train,
        as_of=UNDATED,
        groups=(headline(histories, targets, eligible, train, owners),),
        seen_types=frozenset(),
    )


def _prefixes(sessions: Ragged) -> tuple[Ragged, Ragged, np.typing.NDArray[np.int64]]:
    """Return every proper prefix of each session, the item that follows it, and its session."""
    places = np.arange(len(sessions.flat)) - sessions.offsets[sessions.owners]
    ends = np.flatnonzero(places > 0)
    lengths, owners = places[ends], sessions.owners[ends]
    offsets = offsets_of(lengths)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    flat = sessions.flat[np.repeat(sessions.offsets[owners], lengths) + within]
    return Ragged(flat, offsets), Ragged(sessions.flat[ends], np.arange(len(ends) + 1)), owners


def _views(sessions: Ragged) -> EventColumns:
    until_end = sessions.offsets[1:][sessions.owners] - np.arange(len(sessions.flat))
    return EventColumns(
        users=sessions.owners,
        rows=sessions.flat,
        types=np.full(len(sessions.flat), "view"),
        times=UNDATED - until_end,
    )

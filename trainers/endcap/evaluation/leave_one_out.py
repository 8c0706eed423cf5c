"""Sequences: the last item of each is held out."""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from endcap.evaluation.data import CaseHistories, EvaluationData, HeldOut, TuningData, in_time_order, select
from endcap.evaluation.datasets import Sequences
from endcap.evaluation.headline import UNDATED, headline
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.evaluation.settings import Setting
from endcap.sdk.catalog_view import EventColumns
from endcap.sdk.errors import InvalidInput


_Held = TypeVar("_Held", bound=HeldOut)

SHORTEST = 3
"""A sequence of fewer items is too short to hold one out: it is used for training only."""


def leave_one_out(data_set: Sequences, setting: Setting = Setting.STRICT) -> EvaluationData:
    """Hold out the last item of each sequence as the target; the one before it is the validation item."""
    withheld = 1 if setting is Setting.REFIT else 2
    return _hold_out(EvaluationData, data_set, withheld, f"leave one out, {setting}")


def validate_on_last(data_set: Sequences) -> TuningData:
    """Hold out the last item of each sequence of a data set that does not hold its test."""
    return _hold_out(TuningData, data_set, 1, "leave one out, validation")


def without_test(data_set: Sequences) -> Sequences:
    """Return the sequences less the items that ``leave_one_out`` tests on."""
    sequences = data_set.sequences
    tested = sequences.lengths >= SHORTEST
    kept = np.ones(len(sequences.flat), np.bool_)
    kept[sequences.offsets[1:][tested] - 1] = False
    return replace(data_set, sequences=Ragged(sequences.flat[kept], offsets_of(sequences.lengths - tested)))


def _hold_out(kind: type[_Held], data_set: Sequences, withheld: int, protocol: str) -> _Held:
    """Hold out the last item of each sequence.

    Args:
        kind: The class of the result.
        data_set: The sequences.
        withheld: The number of last items of each sequence that models are not trained on.
        protocol: The split, in words.

    Raises:
        InvalidInput: No sequence is long enough.
    """
    sequences = data_set.sequences
    if not (sequences.lengths >= SHORTEST).any():
        raise InvalidInput(
            f"{data_set.name} has no sequence of at least three items to hold one out of: collect more"
        )
    until_end = sequences.offsets[1:][sequences.owners] - 1 - np.arange(len(sequences.flat))
    held = sequences.lengths[sequences.owners] >= SHORTEST
    events = EventColumns(
        users=sequences.owners,
        rows=sequences.flat,
        types=np.full(len(sequences.flat), "purchase"),
        times=UNDATED - 1 - until_end,
    )
    users = np.flatnonzero(sequences.lengths >= SHORTEST)
    train = in_time_order(select(events, ~held | (until_end >= withheld)))
    targets = Ragged(sequences.flat[held & (until_end == 0)], np.arange(len(users) + 1))
    histories = CaseHistories.of_users(select(events, held & (until_end > 0)), users)
    eligible = np.ones(len(data_set.items.ids), np.bool_)
    return kind(
        name=data_set.name,
        protocol=protocol,
        items=data_set.items,
        events=train,
        as_of=UNDATED,
        groups=(headline(histories, targets, eligible, train),),
    )

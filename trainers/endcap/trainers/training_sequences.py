"""Positives as sequences to train on: one a user, cut into windows, and laid into batches of like length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import Rows
from endcap.sdk.sequences import SequenceEncoding, encode_sequences
from endcap.trainers.interactions import WeighedEvents


MOST_HELD_OUT = 2_000
"""At most this many users are held out to measure a model while it is trained."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutUsers:
    """Histories of some users, and what each of them chose next."""

    histories: Sequence[Rows]

    targets: Rows


def user_sequences(positives: WeighedEvents) -> list[Rows]:
    """Return what each user chose, oldest first, the longest sequences last.

    Events that speak against their item are left out.

    Equal positives give equal sequences, however the users are numbered.
    """
    chosen = positives.in_favour()
    by_user = np.lexsort((chosen.times, chosen.users))
    starts = np.flatnonzero(np.diff(chosen.users[by_user])) + 1
    sequences = np.split(chosen.rows[by_user], starts)
    return sorted(sequences, key=lambda rows: (len(rows), rows.tobytes()))


def hold_out(sequences: Sequence[Rows], generator: np.random.Generator) -> tuple[list[Rows], HeldOutUsers]:
    """Take the last item of a tenth of the sequences, at most ``MOST_HELD_OUT``, to measure a model by.

    A sequence of fewer than three items stays whole, and so does one whose last item is in its history.

    Returns:
        The sequences to train on, and what was held out.
    """
    able = [place for place, rows in enumerate(sequences) if len(rows) >= 3 and rows[-1] not in rows[:-1]]
    count = min(MOST_HELD_OUT, len(sequences) // 10, len(able))
    chosen = np.sort(generator.permutation(np.array(able, np.int64))[:count]).tolist()
    kept = list(sequences)
    for place in chosen:
        kept[place] = sequences[place][:-1]
    targets = np.array([sequences[place][-1] for place in chosen], np.int32)
    return kept, HeldOutUsers([kept[place] for place in chosen], targets)


def windows(sequences: Sequence[Rows], length: int) -> list[Rows]:
    """Cut sequences into windows of ``length`` inputs and the item after them, from the end backwards.

    Two neighbouring windows share one item, so that each item but a sequence's first is predicted once.
    """
    return [
        rows[max(0, end - length - 1) : end] for rows in sequences for end in range(len(rows), 1, -length)
    ]


def by_length(
    sequences: Sequence[Rows], tokens: int, generator: np.random.Generator
) -> Iterator[Sequence[Rows]]:
    """Yield batches of like length in random order, each of at most ``tokens`` items with its padding."""
    lengths = np.array([len(rows) for rows in sequences])
    order = np.lexsort((generator.random(len(sequences)), lengths))
    batches: list[list[int]] = [[]]
    for place in order.tolist():
        if batches[-1] and (len(batches[-1]) + 1) * lengths[place] > tokens:
            batches.append([])
        batches[-1].append(place)
    for number in generator.permutation(len(batches)).tolist():
        yield [sequences[place] for place in batches[number]]


def inputs_and_targets(
    batch: Sequence[Rows], item_count: int, encoding: SequenceEncoding
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the items that the model reads and, for each, the next one, ``(sequences, length)`` both.

    Both are left padded with ``item_count``.
    """
    inputs = encode_sequences([rows[:-1] for rows in batch], item_count, encoding)
    targets = encode_sequences([rows[1:] for rows in batch], item_count, encoding)
    return inputs, targets

"""Splits: divide a data set into training events, test queries and their targets."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.data import CaseHistories, Cases, EvaluationData, in_time_order, select
from endcap.evaluation.datasets import Log, Sequences, Sessions
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.evaluation.readers import read_data_set
from endcap.sdk.catalog_view import EventColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.vocabulary import Rows


class Setting(StrEnum):
    """The events that models may be trained on, and those that are the targets."""

    STRICT = "strict"
    """Models are trained without the validation events; the history of a test query holds them."""

    REFIT = "refit"
    """Models are trained on the validation events too."""

    VALIDATION = "validation"
    """The validation events are the targets: for choosing parameters."""


UNDATED = 946_684_800_000
"""The present in Unix milliseconds for a data set without times. A user's events lie a millisecond
apart before it: their order holds, and no two ages differ by as much as a day."""

WINDOW_DAYS = 30
"""Length of the test period of a dated log when no dates are given."""


def read_evaluation_data(
    folder: Path,
    *,
    setting: Setting = Setting.STRICT,
    cutoff: datetime | None = None,
    until: datetime | None = None,
    seed: int = 0,
) -> EvaluationData:
    """Read a data set and split it as its kind requires.

    Args:
        folder: The folder of the data set; ``readers.FORMATS`` lists the files that it may hold.
        setting: For sequences and dated logs.
        cutoff: Dated logs only: models are trained on the events before it. By default the last
            30 days are the test period, and with ``Setting.VALIDATION`` the 30 days before them.
        until: Dated logs only: events at or after it are left out. Dates without a zone are UTC.
        seed: Fixes the permutation of items and users.

    Raises:
        InvalidInput: The folder holds no data set, or the split leaves no events to train or to test on.
    """
    data_set = read_data_set(folder, seed=seed)
    match data_set:
        case Sequences():
            return leave_one_out(data_set, setting)
        case Sessions():
            return next_in_session(data_set)
        case Log():
            if not len(data_set.events.times):
                raise InvalidInput(f"{data_set.name} has no events: record or import some first")
            end = int(data_set.events.times[-1]) + 1 if until is None else _unix_milliseconds(until)
            if until is None and setting is Setting.VALIDATION:
                end -= WINDOW_DAYS * DAY
            start = end - WINDOW_DAYS * DAY if cutoff is None else _unix_milliseconds(cutoff)
            return by_time(data_set, start, end)


def leave_one_out(data_set: Sequences, setting: Setting = Setting.STRICT) -> EvaluationData:
    """Hold out the last item of each sequence as the target, the one before it for validation.

    A sequence of fewer than three items is too short to hold one out: it is used for training only.
    """
    sequences = data_set.sequences
    lengths = sequences.lengths[sequences.owners]
    until_end = sequences.offsets[1:][sequences.owners] - 1 - np.arange(len(sequences.flat))
    tested = lengths >= 3
    events = EventColumns(
        users=sequences.owners,
        rows=sequences.flat,
        types=np.full(len(sequences.flat), "purchase"),
        times=UNDATED - 1 - until_end,
    )
    target = 1 if setting is Setting.VALIDATION else 0
    train = 1 if setting is Setting.REFIT else 2
    users = np.flatnonzero(sequences.lengths >= 3)
    train_events = in_time_order(select(events, ~tested | (until_end >= train)))
    if not len(users):
        raise InvalidInput(
            f"{data_set.name} has no sequence of at least three items to hold one out of: collect more"
        )
    targets = Ragged(sequences.flat[tested & (until_end == target)], np.arange(len(users) + 1))
    histories = CaseHistories.of_users(select(events, tested & (until_end > target)), users)
    return EvaluationData(
        name=data_set.name,
        protocol=f"leave one out, {setting}",
        items=data_set.items,
        events=train_events,
        as_of=UNDATED,
        groups=(_headline(histories, targets, np.ones(len(data_set.items.ids), np.bool_), train_events),),
    )


def next_in_session(data_set: Sessions) -> EvaluationData:
    """Predict the item that follows each prefix of a session.

    No item is masked, for visitors return to items that they saw.
    """
    prefixes = data_set.prefixes
    train_events = in_time_order(_views(data_set.sessions))
    histories = CaseHistories(_views(prefixes), prefixes.offsets)
    targets = Ragged(data_set.targets, np.arange(len(prefixes) + 1))
    return EvaluationData(
        name=data_set.name,
        protocol="next item of a session",
        items=data_set.items,
        events=train_events,
        as_of=UNDATED,
        groups=(_headline(histories, targets, np.ones(len(data_set.items.ids), np.bool_), train_events),),
        seen_types=frozenset(),
    )


def by_time(data_set: Log, cutoff: int, until: int, *, target_type: str = "purchase") -> EvaluationData:
    """Train on the events before a cutoff and test on first purchases after it.

    The headline group holds the users and items that appear before the cutoff. Users who first appear later
    are the group ``new_users``; purchases by known users of items that first appear later are ``new_items``,
    where these items are ranked among all others.

    Args:
        data_set: The log.
        cutoff: Unix milliseconds; models are trained on the events before it.
        until: Unix milliseconds; events at or after it are left out.
        target_type: The event type of the targets.

    Raises:
        InvalidInput: No event is before the cutoff, or no known user makes a first purchase after it.
    """
    events, item_count = data_set.events, len(data_set.items.ids)
    before = events.times < cutoff
    train, test = select(events, before), select(events, ~before & (events.times < until))
    known_items = np.bincount(train.rows, minlength=item_count) > 0
    present_items = known_items | (np.bincount(test.rows, minlength=item_count) > 0)

    users, rows = _first_times(train, test, target_type, item_count)
    known_user, known_item = np.isin(users, train.users), known_items[rows]
    parts = {
        "all": (known_user & known_item, known_items),
        "new_users": (~known_user & known_item, known_items),
        "new_items": (known_user & ~known_item, present_items),
    }
    if not len(train.rows) or not parts["all"][0].any():
        raise InvalidInput(
            f"{data_set.name} has nothing to test on between {_date(cutoff)} and {_date(until)}:"
            " choose a cutoff with events before it and first purchases of known users after it"
        )
    groups = []
    for name, (chosen, eligible) in parts.items():
        case_users, counts = np.unique(users[chosen], return_counts=True)
        histories = CaseHistories.of_users(train, case_users)
        targets = Ragged(rows[chosen], offsets_of(counts))
        if name == "all":
            groups.append(_headline(histories, targets, eligible, train))
        elif len(targets):
            groups.append(Cases(name, histories, targets, eligible))
    return EvaluationData(
        name=data_set.name,
        protocol=f"by time, trained before {_date(cutoff)}, tested until {_date(until)}",
        items=data_set.items,
        events=train,
        as_of=cutoff,
        groups=tuple(groups),
        seen_types=frozenset({target_type}),
    )


def _headline(
    histories: CaseHistories, targets: Ragged, eligible: NDArray[np.bool_], train: EventColumns
) -> Cases:
    """Make the first group, with its cold slices.

    Cold users are the quarter of the cases with the shortest histories, cold items the quarter of the items
    with the fewest training events; ties with the last of them belong.
    """
    lengths = np.diff(histories.offsets)
    counts = np.bincount(train.rows, minlength=len(eligible))
    short = lengths <= np.quantile(lengths, 0.25, method="lower")
    rare = counts <= np.quantile(counts[eligible], 0.25, method="lower")
    slices = {"cold_users": short[targets.owners], "cold_items": rare[targets.flat]}
    return Cases("all", histories, targets, eligible, slices)


def _first_times(
    train: EventColumns, test: EventColumns, target_type: str, item_count: int
) -> tuple[NDArray[np.int64], Rows]:
    """Return the distinct pairs of user and item that occur in ``test`` but not in ``train``, by user."""

    def pairs(events: EventColumns) -> NDArray[np.int64]:
        chosen = events.types == target_type
        return np.unique(events.users[chosen] * item_count + events.rows[chosen])

    users, rows = np.divmod(np.setdiff1d(pairs(test), pairs(train), assume_unique=True), item_count)
    return users, rows.astype(np.int32)


def _views(sessions: Ragged) -> EventColumns:
    until_end = sessions.offsets[1:][sessions.owners] - np.arange(len(sessions.flat))
    return EventColumns(
        users=sessions.owners,
        rows=sessions.flat,
        types=np.full(len(sessions.flat), "view"),
        times=UNDATED - until_end,
    )


def _unix_milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _date(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"

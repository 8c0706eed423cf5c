"""Dated logs: trained on what lies before a date, tested on the first purchases after it."""

from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.data import CaseHistories, Cases, EvaluationData, HeldOut, TuningData, select
from endcap.evaluation.datasets import Log
from endcap.evaluation.headline import headline
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.sdk.catalog_view import EventColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.vocabulary import Rows


_Held = TypeVar("_Held", bound=HeldOut)


def by_time(data_set: Log, cutoff: int, until: int, *, target_type: str = "purchase") -> EvaluationData:
    """Train on the events before a cutoff and test on first purchases after it.

    The headline group holds the users and items that appear before the cutoff. Users who first appear later
    are the group ``new_users``; purchases by known users of items that first appear later are ``new_items``:
    they are ranked among all items that appear before ``until``, whether or not anybody buys them. Items are
    described as they were before the cutoff, those that first appear later as they were first described.

    Args:
        data_set: The log.
        cutoff: Unix milliseconds; models are trained on the events before it.
        until: Unix milliseconds; events at or after it are left out.
        target_type: The event type of the targets.

    Raises:
        InvalidInput: No event is before the cutoff, or no known user makes a first purchase after it.
    """
    return _hold_out(EvaluationData, data_set, cutoff, until, target_type=target_type)


def validate_by_time(data_set: Log, cutoff: int, until: int, *, target_type: str = "purchase") -> TuningData:
    """Split as ``by_time`` does, without any event at or after ``until``, where the test begins."""
    return _hold_out(TuningData, data_set.before(until), cutoff, until, target_type=target_type)


def _hold_out(kind: type[_Held], data_set: Log, cutoff: int, until: int, *, target_type: str) -> _Held:
    purpose = ", validation" if kind is TuningData else ""
    events, item_count = data_set.events, len(data_set.items.ids)
    before = events.times < cutoff
    train, test = select(events, before), select(events, ~before & (events.times < until))
    known_items = np.bincount(train.rows, minlength=item_count) > 0
    present_items = known_items | (data_set.appearances() < until)

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
    return kind(
        name=data_set.name,
        protocol=f"by time{purpose}, trained before {_date(cutoff)}, tested until {_date(until)}",
        items=data_set.items_as_of(cutoff),
        events=train,
        as_of=cutoff,
        groups=tuple(
            _group(name, users[chosen], rows[chosen], eligible, train)
            for name, (chosen, eligible) in parts.items()
            if chosen.any()
        ),
        seen_types=frozenset({target_type}),
    )


def _group(
    name: str, users: NDArray[np.int64], rows: Rows, eligible: NDArray[np.bool_], train: EventColumns
) -> Cases:
    case_users, counts = np.unique(users, return_counts=True)
    histories, targets = CaseHistories.of_users(train, case_users), Ragged(rows, offsets_of(counts))
    if name == "all":
        return headline(histories, targets, eligible, train)
    return Cases(name, histories, targets, eligible)


def _first_times(
    train: EventColumns, test: EventColumns, target_type: str, item_count: int
) -> tuple[NDArray[np.int64], Rows]:
    """Return the distinct pairs of user and item that occur in ``test`` but not in ``train``, by user."""

    def pairs(events: EventColumns) -> NDArray[np.int64]:
        chosen = events.types == target_type
        return np.unique(events.users[chosen] * item_count + events.rows[chosen])

    users, rows = np.divmod(np.setdiff1d(pairs(test), pairs(train), assume_unique=True), item_count)
    return users, rows.astype(np.int32)


def _date(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"

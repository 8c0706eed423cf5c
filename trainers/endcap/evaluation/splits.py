"""Splits: divide a data set into training events, queries and their targets.

A split has four parts: *fit*, *validation*, *refit* (the two together) and *test*.

===========  ==========================  =============================  ================================
data set     fit                         validation                     test
===========  ==========================  =============================  ================================
sequences    all but the last two items  the last item but one          the last item
dated log    before the 30 days that     the 30 days before the cutoff  from the cutoff
             end at the cutoff
sessions     all but the newest tenth    the newest tenth of the        the prefixes of ``test.parquet``
                                         sessions to train on
===========  ==========================  =============================  ================================

Parameters are chosen on ``TuningData``, which is made from what is left of a data set without its test.
"""

from datetime import UTC, datetime
from pathlib import Path

from endcap.evaluation.by_time import by_time, validate_by_time
from endcap.evaluation.data import EvaluationData, TuningData
from endcap.evaluation.datasets import DataSet, Links, Log, Sequences, Sessions
from endcap.evaluation.judged import among_others, by_judgements, by_links
from endcap.evaluation.leave_one_out import leave_one_out, validate_on_last, without_test
from endcap.evaluation.readers import read_data_set
from endcap.evaluation.sessions import next_in_session, validate_on_newest
from endcap.evaluation.settings import Setting
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.query import Task


WINDOW_DAYS = 30
"""Length of the test period of a dated log when no dates are given, and of the validation before it."""


def read_evaluation_data(
    folder: Path,
    *,
    setting: Setting | None = None,
    cutoff: datetime | None = None,
    until: datetime | None = None,
    task: Task = Task.FOR_YOU,
    judged: Path | None = None,
    seed: int = 0,
) -> EvaluationData:
    """Read a data set and split it for its test, as its kind requires.

    Args:
        folder: The folder of the data set; ``readers.FORMATS`` lists the files that it may hold.
        setting: Strict or refit for sequences, which are strict by default; everything else is refit.
        cutoff: Dated logs only: models are trained on the events before it. By default the last
            30 days are the test period.
        until: Dated logs only: events at or after it are left out. Dates without a zone are UTC.
        task: For you; similar or related for a data set with links; rank; or search.
        judged: The file of relevant items for search; ``judged.by_judgements`` describes it.
        seed: Fixes the permutation of items and users.

    Raises:
        InvalidInput: The folder holds no data set, the data set lacks the setting or the task, or the split
            leaves no events to train or to test on.
    """
    data_set = read_data_set(folder, seed=seed)
    if (task is Task.SEARCH) != (judged is not None):
        raise InvalidInput(
            "the task search needs a file of judged queries, and no other task does: see --judged"
        )
    if isinstance(data_set, Links):
        return by_links(data_set, task)
    data = _split(data_set, setting, cutoff, until)
    match task:
        case Task.FOR_YOU:
            return data
        case Task.RANK:
            return among_others(data, seed=seed)
        case Task.SEARCH if judged is not None:
            return by_judgements(data, judged)
    raise InvalidInput(
        f"{data.name} has nothing to judge the task {task} by: {task} needs links between items"
    )


def _split(
    data_set: Sequences | Sessions | Log,
    setting: Setting | None,
    cutoff: datetime | None,
    until: datetime | None,
) -> EvaluationData:
    """Split a data set for its test of the task for-you."""
    if isinstance(data_set, Sequences):
        return leave_one_out(data_set, setting or Setting.STRICT)
    if setting is Setting.STRICT:
        raise InvalidInput(
            f"{data_set.name} has no setting 'strict', for models are trained on everything before its test:"
            " use refit, or validation to choose parameters"
        )
    if isinstance(data_set, Sessions):
        return next_in_session(data_set)
    start, end = _test_period(data_set, cutoff, until)
    return by_time(data_set, start, end)


def read_tuning_data(
    folder: Path, *, cutoff: datetime | None = None, until: datetime | None = None, seed: int = 0
) -> TuningData:
    """Read a data set and split it for choosing parameters; the test is no part of the result.

    Args: As for ``read_evaluation_data``; the validation period of a dated log ends at the cutoff.

    Raises:
        InvalidInput: As ``read_evaluation_data``.
    """
    data_set: DataSet = read_data_set(folder, seed=seed)
    match data_set:
        case Sequences():
            return validate_on_last(without_test(data_set))
        case Sessions():
            return validate_on_newest(data_set)
        case Log():
            start, _ = _test_period(data_set, cutoff, until)
            return validate_by_time(data_set, start - WINDOW_DAYS * DAY, start)
        case Links():
            raise InvalidInput(
                f"{data_set.name} has no setting 'validation', for all of its links are the test: choose"
                " parameters on another data set"
            )


def _test_period(data_set: Log, cutoff: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return the moments in Unix milliseconds at which the test begins and ends."""
    if not len(data_set.events.times):
        raise InvalidInput(f"{data_set.name} has no events: record or import some first")
    end = int(data_set.events.times[-1]) + 1 if until is None else _unix_milliseconds(until)
    start = end - WINDOW_DAYS * DAY if cutoff is None else _unix_milliseconds(cutoff)
    return start, end


def _unix_milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)

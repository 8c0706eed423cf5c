"""The data of an evaluation: events to train on, cases to answer, and their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.sdk.catalog_view import CatalogView, EventColumns, ItemColumns, build_view
from endcap.sdk.query import NO_ROWS, NO_SCORES, Eligibility, History, Query, Task
from endcap.sdk.snapshot import Snapshot, conform, event_schema, item_table, user_schema, write_snapshot


@dataclass(frozen=True, slots=True, eq=False)
class CaseHistories:
    """The history of each case: the events of its user before the query."""

    events: EventColumns
    """Case after case, oldest first within a case."""

    offsets: NDArray[np.int64]
    """Case ``i`` owns the events ``offsets[i]`` to ``offsets[i + 1]``; ``(cases + 1,)``."""

    @classmethod
    def of_users(cls, events: EventColumns, users: NDArray[np.int64]) -> "CaseHistories":
        """Collect the events of each of ``users``; a user without any has an empty history."""
        by_user = select(events, np.lexsort((events.times, events.users)))
        starts = np.searchsorted(by_user.users, users, side="left")
        ends = np.searchsorted(by_user.users, users, side="right")
        lengths = ends - starts
        offsets = offsets_of(lengths)
        positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return cls(select(by_user, positions), offsets)

    @classmethod
    def none(cls, count: int) -> "CaseHistories":
        """Return the histories of cases without a user."""
        return cls(EventColumns.none(), np.zeros(count + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, case: int) -> History:
        own = slice(self.offsets[case], self.offsets[case + 1])
        return History(
            self.events.rows[own], self.events.types[own], self.events.times[own], self.events.values[own]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Test queries under the same conditions."""

    name: str
    """``all``, ``new_users``, ``new_items``."""

    histories: CaseHistories

    targets: Ragged
    """The rows of the relevant items: distinct within a case, at least one a case."""

    eligible: NDArray[np.bool_]
    """Which items are ranked; ``(items,)``."""

    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Parts to report beside the whole, each a mask over ``targets.flat``. A case takes part with the targets
    that the mask keeps."""

    clusters: NDArray[np.int64] | None = None
    """A number a case, equal for cases that depend on each other, such as the prefixes of one session; None
    where every case stands for itself."""

    task: Task = Task.FOR_YOU

    items: Ragged | None = None
    """The item of the page of each case, or its cart; None where the task has neither."""

    candidates: Ragged | None = None
    """The only items that each case ranks, best match first for a search; None for all."""

    relevance: NDArray[np.float32] | None = None
    """How well each flat position of ``candidates`` matches the text of a search."""

    texts: Sequence[str] = ()
    """The text of each search; empty for other tasks."""

    grades: NDArray[np.float64] | None = None
    """How relevant each flat position of ``targets`` is, above 0; None where all are equally relevant."""

    def __len__(self) -> int:
        return len(self.targets)

    def query(self, case: int, *, limit: int, time: int, seen_types: frozenset[str]) -> Query:
        """Return the query of a case.

        Args:
            case: The number of the case.
            limit: Length of the list.
            time: Unix milliseconds of the query.
            seen_types: Items that the user has an event of these types with are not eligible.
        """
        history = self.histories[case]
        seen = history.rows[np.isin(history.types, list(seen_types))]
        page = NO_ROWS if self.items is None else self.items[case]
        candidates, relevance = None, NO_SCORES
        if self.candidates is not None:
            candidates = self.candidates[case]
            if self.relevance is not None:
                relevance = self.relevance[self.candidates.offsets[case] : self.candidates.offsets[case + 1]]
        return Query(
            task=self.task,
            limit=limit,
            time=time,
            eligible=Eligibility(self.eligible, np.unique(np.concatenate([seen, page]))),
            history=history,
            items=page,
            candidates=candidates,
            relevance=relevance,
            text=self.texts[case] if self.texts else "",
            seed=case,
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Events to train on, and the cases that were held out of them. Item rows are positions in ``items``."""

    name: str

    protocol: str
    """The split, in words for the report."""

    items: ItemColumns

    events: EventColumns
    """The events that models may be trained on, in time order."""

    as_of: int
    """Unix milliseconds of every query; no event of ``events`` is later."""

    groups: tuple[Cases, ...]
    """The cases; the first group is the headline."""

    seen_types: frozenset[str] = frozenset({"purchase"})
    """Items that a user has an event of these types with are not recommended to that user again."""

    def view(self) -> CatalogView:
        """Return the catalog as it was when the models were trained."""
        return build_view(self.items, self.events, version=f"{self.name}, {self.protocol}", as_of=self.as_of)

    def snapshot(self, folder: Path) -> Snapshot:
        """Write the training events as a snapshot, which every trainer reads.

        Args:
            folder: The folder to write; it must not exist yet.
        """
        import polars as pl

        first_time = {}
        for user, time in zip(
            self.events.users[::-1].tolist(), self.events.times[::-1].tolist(), strict=True
        ):
            first_time[str(user)] = time
        events = pl.DataFrame(
            {
                "user": self.events.users.astype(np.str_),
                "item_id": np.array(self.items.ids, np.str_)[self.events.rows],
                "type": self.events.types,
                "time": self.events.times,
                "quantity": self.events.values,
                "value": self.events.values,
            }
        ).with_columns(pl.col("quantity", "value").fill_nan(None))
        users = pl.DataFrame({"user": list(first_time), "created_time": list(first_time.values())})
        return write_snapshot(
            folder,
            items=item_table(self.items),
            users=conform(users, user_schema()),
            events=conform(events, event_schema()),
            shop=self.name,
            as_of=self.as_of,
        )


class EvaluationData(HeldOut):
    """A data set split for its test: what a report is made from, and no parameter is chosen on."""

    __slots__ = ()


class TuningData(HeldOut):
    """A data set split for choosing parameters: it is made from what is left without the test."""

    __slots__ = ()


def select(events: EventColumns, positions: NDArray[np.integer] | NDArray[np.bool_]) -> EventColumns:
    """Return the events at ``positions``, or where a mask is True."""
    return events.of(positions)


def in_time_order(events: EventColumns) -> EventColumns:
    """Return the events oldest first; those of one moment keep their order."""
    return select(events, np.argsort(events.times, kind="stable"))

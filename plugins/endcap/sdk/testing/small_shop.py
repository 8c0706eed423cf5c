"""A small shop to try a strategy in: items, events, and stand-ins for what a host provides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import nan
from typing import Any

import numpy as np

from endcap.sdk.catalog_view import AttributeValue, CatalogView, EventColumns, ItemColumns, build_view
from endcap.sdk.errors import ModelMissing, NotFound
from endcap.sdk.features import DAY
from endcap.sdk.model import Model, Tensors, TensorSpec
from endcap.sdk.query import Eligibility, History, Query, Ranking, Task
from endcap.sdk.strategy import Strategy
from endcap.sdk.vocabulary import UNKNOWN, Rows, Vocabulary


NOW = 1_700_000_000_000
"""The moment of every test, Unix milliseconds."""

CHECKERBOARD_IDS = ("a", "b", "c", "d", "e", "f")
"""The items of the contract tests that a model knows; the catalog holds others too."""


@dataclass(frozen=True, slots=True)
class SampleItem:
    """An item of a test's catalog."""

    id: str
    title: str = ""
    categories: tuple[str, ...] = ()
    price: float = nan
    available: bool = True
    days_old: float = 0
    description: str = ""
    brand: str = ""
    availability: str = ""
    tags: tuple[str, ...] = ()
    group_id: str = ""
    original_price: float = nan
    cost: float = nan
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleEvent:
    """Something that a user of a test's catalog did."""

    user: str
    item: str
    type: str = "purchase"
    days_ago: float = 1


@dataclass(frozen=True, slots=True, eq=False)
class FakeModel:
    """A model without a graph."""

    name: str
    vocabulary: Vocabulary

    run: Callable[[Tensors], Tensors]
    """Stands in for the graph."""

    state: Mapping[str, Any] = field(default_factory=dict)
    version: str = "fake"
    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FakeResources:
    """Resources out of a test's own hands."""

    models: Sequence[Model] = ()
    strategies: Mapping[str, Strategy] = field(default_factory=dict)

    def model(self, name: str) -> Model:
        """Return the model of that name."""
        for model in self.models:
            if model.name == name:
                return model
        raise ModelMissing(f"the test has no model {name!r}: give it one")

    def strategy(self, name: str, parameters: Mapping[str, Any] | None = None) -> Strategy:  # noqa: ARG002
        """Return the strategy of that name, whatever the parameters."""
        if name not in self.strategies:
            raise NotFound(f"the test has no strategy {name!r}: give it one")
        return self.strategies[name]


def catalog(items: Iterable[SampleItem | str], events: Iterable[SampleEvent] = ()) -> CatalogView:
    """Build the view of a small catalog; a string stands for an item with nothing but an id."""
    stocked = [SampleItem(item) if isinstance(item, str) else item for item in items]
    events = list(events)
    vocabulary = Vocabulary(item.id for item in stocked)
    users = Vocabulary(dict.fromkeys(event.user for event in events))
    return build_view(
        ItemColumns(
            ids=vocabulary.ids,
            titles=[item.title for item in stocked],
            categories=[item.categories for item in stocked],
            prices=np.array([item.price for item in stocked], np.float64),
            available=np.array([item.available for item in stocked], np.bool_),
            created=np.array([NOW - item.days_old * DAY for item in stocked], np.int64),
            descriptions=[item.description for item in stocked],
            brands=[item.brand for item in stocked],
            availabilities=[item.availability for item in stocked],
            tags=[item.tags for item in stocked],
            group_ids=[item.group_id for item in stocked],
            original_prices=np.array([item.original_price for item in stocked], np.float64),
            costs=np.array([item.cost for item in stocked], np.float64),
            attributes=[item.attributes for item in stocked],
        ),
        EventColumns(
            users=users.rows(event.user for event in events).astype(np.int64),
            rows=_known(vocabulary, [event.item for event in events]),
            types=np.array([event.type for event in events], np.str_),
            times=np.array([NOW - event.days_ago * DAY for event in events], np.int64),
        ),
        version="test",
        as_of=NOW,
    )


@cache
def checkerboard() -> CatalogView:
    """Return the catalog of the contract tests: each of six users bought every other item.

    Its rows stand in another order than ``CHECKERBOARD_IDS``, and it also holds an item that is not
    available and one that no model knows.
    """
    known = [
        SampleItem(item_id, title=f"item {item_id}", price=1, days_old=9) for item_id in CHECKERBOARD_IDS
    ]
    others = [SampleItem("gone", title="item gone", available=False), SampleItem("new", title="item new")]
    events = [
        SampleEvent(f"user {user}", item_id, event_type, days_ago=1 + user + place)
        for user in range(len(CHECKERBOARD_IDS))
        for place, item_id in enumerate(CHECKERBOARD_IDS)
        for event_type in ("view", "purchase")
        if (user + place) % 2 == 0
    ]
    return catalog([*reversed(known), *others], events)


@dataclass(frozen=True, slots=True, eq=False)
class SampleShop:
    """A strategy and a catalog, asked by item ids."""

    strategy: Strategy
    view: CatalogView

    def recommend(self, history: Sequence[str] = (), n: int = 10, **facts: Any) -> list[str]:
        """Return the ids that the strategy recommends; arguments as for ``query``."""
        return self.ids(self.rank(history, n, **facts).rows)

    def rank(self, history: Sequence[str] = (), n: int = 10, **facts: Any) -> Ranking:
        """Return the strategy's ranking; arguments as for ``query``."""
        (ranking,) = self.strategy.recommend([self.query(history, n, **facts)], self.view)
        return ranking

    def query(
        self,
        history: Sequence[str] = (),
        n: int = 10,
        *,
        history_type: str = "purchase",
        task: Task = Task.FOR_YOU,
        items: Sequence[str] = (),
        candidates: Sequence[str] | None = None,
        relevance: Sequence[float] = (),
        exclude: Sequence[str] = (),
        text: str = "",
        explain: bool = False,
    ) -> Query:
        """Make a query out of ids.

        Args:
            history: What the user did, oldest first, the last of it a day ago.
            n: Length of the list.
            history_type: The type of the history's events.
            task: The task.
            items: The item of the page, or the cart; they are excluded as well.
            candidates: The only items that may be shown.
            relevance: How well the text of each candidate matches, for the task search.
            exclude: Items that must not be shown, beside those that are not available.
            text: What the user typed.
            explain: Whether to ask for reasons.
        """
        return Query(
            task=task,
            limit=n,
            time=NOW,
            eligible=Eligibility(self.view.available, self._rows([*exclude, *items])),
            history=history_of(self._rows(history), history_type),
            items=self._rows(items),
            candidates=None if candidates is None else self._rows(candidates),
            relevance=np.array(relevance, np.float32),
            text=text,
            explain=explain,
        )

    def ids(self, rows: Rows) -> list[str]:
        """Return the ids of rows."""
        return [self.view.vocabulary.ids[row] for row in rows]

    def _rows(self, ids: Sequence[str]) -> Rows:
        return _known(self.view.vocabulary, ids)


def history_of(rows: Rows, event_type: str) -> History:
    """Return a history of one event a day, the last of them a day ago."""
    return History(
        rows=rows,
        types=np.full(len(rows), event_type),
        times=NOW - np.arange(len(rows), 0, -1, dtype=np.int64) * DAY,
    )


def _known(vocabulary: Vocabulary, ids: Sequence[str]) -> Rows:
    rows = vocabulary.rows(ids)
    if UNKNOWN in rows:
        raise ValueError(f"the catalog has no item {ids[rows.tolist().index(UNKNOWN)]!r}")
    return rows

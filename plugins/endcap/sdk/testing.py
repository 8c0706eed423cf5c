"""The contract-test kit: what every strategy promises, as tests to inherit, and a small shop to try it in.

::

    class TestNewest(StrategyContract):
        strategy = Newest

        def test_the_newest_item_comes_first(self) -> None:
            shop = self.shop([Item("mug", days_old=9), Item("kettle", days_old=1)])

            assert shop.recommend() == ["kettle", "mug"]

It needs nothing but the base install of Endcap and a test runner that collects classes, such as pytest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import nan
from types import MappingProxyType
from typing import Any

import numpy as np

from endcap.sdk.catalog_view import AttributeValue, CatalogView, EventColumns, ItemColumns, build_view
from endcap.sdk.errors import ModelMissing, NotFound
from endcap.sdk.features import DAY
from endcap.sdk.model import Model, Tensors
from endcap.sdk.parameters import NoParameters
from endcap.sdk.query import NO_SCORES, Eligibility, History, Query, Ranking, Task
from endcap.sdk.strategy import ScoringStrategy, Strategy, StrategyFactory
from endcap.sdk.vocabulary import UNKNOWN, Rows, Vocabulary, frozen


NOW = 1_700_000_000_000
"""The moment of every test, Unix milliseconds."""

CHECKERBOARD_IDS = ("a", "b", "c", "d", "e", "f")
"""The items of the contract tests that a model knows; the catalog holds others too."""


@dataclass(frozen=True, slots=True)
class Item:
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
class Event:
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


def catalog(items: Iterable[Item | str], events: Iterable[Event] = ()) -> CatalogView:
    """Build the view of a small catalog; a string stands for an item with nothing but an id."""
    stocked = [Item(item) if isinstance(item, str) else item for item in items]
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
    known = [Item(item_id, title=f"item {item_id}", price=1, days_old=9) for item_id in CHECKERBOARD_IDS]
    others = [Item("gone", title="item gone", available=False), Item("new", title="item new")]
    events = [
        Event(f"user {user}", item_id, event_type, days_ago=1 + user + place)
        for user in range(len(CHECKERBOARD_IDS))
        for place, item_id in enumerate(CHECKERBOARD_IDS)
        for event_type in ("view", "purchase")
        if (user + place) % 2 == 0
    ]
    return catalog([*reversed(known), *others], events)


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
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
            n: How many items are wanted.
            history_type: The type of the history's events.
            task: The task.
            items: The item of the page, or the cart; they are excluded as well.
            candidates: The only items that may be shown.
            relevance: How well the text of each candidate matches, for the task search.
            exclude: Items that must not be shown, beside those that are not available.
            text: What the user typed.
            explain: Whether reasons are wanted.
        """
        return Query(
            task=task,
            limit=n,
            time=NOW,
            eligible=Eligibility(self.view.available, self._rows([*exclude, *items])),
            history=_history(self._rows(history), history_type),
            items=self._rows(items),
            candidates=None if candidates is None else self._rows(candidates),
            relevance=frozen(np.array(relevance, np.float32)),
            text=text,
            explain=explain,
        )

    def ids(self, rows: Rows) -> list[str]:
        """Return the ids of rows."""
        return [self.view.vocabulary.ids[row] for row in rows]

    def _rows(self, ids: Sequence[str]) -> Rows:
        return _known(self.view.vocabulary, ids)


class StrategyContract:
    """What every strategy promises. Inherit it and set ``strategy``.

    The catalog is ``checkerboard()``. Every array that a strategy gets is frozen, so that one that writes
    to it fails.
    """

    strategy: StrategyFactory
    """The class or function under test."""

    parameters: object = NoParameters()
    """An instance of the parameters it was registered with."""

    models: Sequence[Model] = ()
    """The models that it may ask for; fakes that know ``CHECKERBOARD_IDS``, or real ones."""

    strategies: Mapping[str, Strategy] = MappingProxyType({})
    """The strategies that it may compose, by name."""

    def build(self) -> Strategy:
        """Return a new instance of the strategy."""
        built: Strategy = type(self).strategy(FakeResources(self.models, self.strategies), self.parameters)
        return built

    def shop(self, items: Iterable[Item | str], events: Iterable[Event] = ()) -> Shop:
        """Return a shop that the strategy recommends for."""
        return Shop(self.build(), catalog(items, events))

    def test_it_says_which_tasks_it_answers(self) -> None:
        """A host asks a strategy for these tasks and no others."""
        tasks = self.build().tasks
        _require(isinstance(tasks, frozenset) and bool(tasks), "tasks must be a frozenset that is not empty")
        _require(all(isinstance(task, Task) for task in tasks), "tasks must hold members of Task")

    def test_lists_hold_eligible_items_only_and_none_twice(self) -> None:
        """At most ``limit`` rows, each of which the query allows."""
        for query, ranking in self._answers():
            rows = ranking.rows
            _require(len(rows) <= query.limit, f"{query.task}: a list holds more than {query.limit} items")
            _require(len(set(rows.tolist())) == len(rows), f"{query.task}: a list holds an item twice")
            _require(bool(query.eligible.allows(rows).all()), f"{query.task}: a list holds a forbidden item")
            if query.candidates is not None:
                _require(
                    set(rows.tolist()) <= set(query.candidates.tolist()),
                    f"{query.task}: a list holds an item that is no candidate",
                )

    def test_scores_are_numbers_that_never_increase(self) -> None:
        """One score a row, none of them NaN."""
        for query, ranking in self._answers():
            scores = np.asarray(ranking.scores)
            _require(scores.shape == ranking.rows.shape, f"{query.task}: a list needs one score a row")
            _require(not np.isnan(scores).any(), f"{query.task}: a score is NaN")
            _require(bool((scores[:-1] >= scores[1:]).all()), f"{query.task}: scores increase down a list")

    def test_reasons_stand_beside_every_item_or_nowhere(self) -> None:
        """Reasons are as many as rows, and name rows of the catalog."""
        for query, ranking in self._answers():
            _require(
                len(ranking.reasons) in {0, len(ranking)}, f"{query.task}: reasons must be as many as rows"
            )
            evidence = [row for reasons in ranking.reasons for reason in reasons for row in reason.evidence]
            _require(
                all(0 <= row < len(checkerboard()) for row in evidence),
                f"{query.task}: a reason names an item that does not exist",
            )

    def test_no_queries_get_no_answers(self) -> None:
        """An empty batch is no error."""
        _require(len(self.build().recommend([], checkerboard())) == 0, "an empty batch must get no rankings")

    def test_an_empty_catalog_gets_empty_lists(self) -> None:
        """A shop that has nothing yet is no error."""
        shop = self.shop([])
        for task in sorted(shop.strategy.tasks):
            candidates = () if task in _TASKS_WITH_CANDIDATES else None
            ranking = shop.rank(task=task, candidates=candidates, text="a", explain=True)
            _require(len(ranking) == 0, f"{task}: an empty catalog must get an empty list")

    def test_a_batch_is_answered_like_its_queries_one_by_one(self) -> None:
        """What else is in the batch changes no answer."""
        strategy = self.build()
        for query, together in self._answers():
            (alone,) = strategy.recommend([query], checkerboard())
            _require(_agree(alone, together), f"{query.task}: a batch changes the answer to a query")

    def test_the_same_query_gets_the_same_answer(self) -> None:
        """Time and chance come from the query alone."""
        for (query, first), (_, second) in zip(self._answers(), self._answers(), strict=True):
            same = np.array_equal(first.rows, second.rows) and np.array_equal(first.scores, second.scores)
            _require(same, f"{query.task}: a second instance gives another answer")

    def test_it_leaves_the_global_random_state_alone(self) -> None:
        """A plugin that seeds NumPy's global generator changes what others draw."""
        # Drawn first, so that a constant seed cannot give back the state that it left last time.
        np.random.random()  # noqa: NPY002
        before = str(np.random.get_state())  # noqa: NPY002
        self._answers()
        after = str(np.random.get_state())  # noqa: NPY002
        _require(before == after, "use the query's seed, not NumPy's global generator")

    def test_scores_have_a_row_a_query_and_a_column_an_item(self) -> None:
        """``score`` gives float32 without infinities, and the same numbers for a part of the rows."""
        strategy = self.build()
        if not isinstance(strategy, ScoringStrategy):
            return
        queries = _queries(strategy)
        part = np.array([4, 0, 2], np.int32)
        scores = strategy.score(queries, None, checkerboard())
        of_part = strategy.score(queries, part, checkerboard())
        _require(scores.shape == (len(queries), len(checkerboard())), "score must give (queries, rows)")
        _require(scores.dtype == np.float32, "score must give float32")
        _require(not np.isinf(scores).any(), "score must give NaN where it cannot score, never infinity")
        _require(
            np.allclose(of_part, scores[:, part], rtol=1e-4, atol=1e-6, equal_nan=True),
            "score must give the same numbers for a part of the rows",
        )
        none = strategy.score([], None, checkerboard())
        _require(none.shape == (0, len(checkerboard())), "score must give (0, rows) for no queries")

    def _answers(self) -> list[tuple[Query, Ranking]]:
        strategy = self.build()
        queries = _queries(strategy)
        rankings = strategy.recommend(queries, checkerboard())
        _require(len(rankings) == len(queries), "recommend must give one ranking a query")
        return list(zip(queries, rankings, strict=True))


_TASKS_WITH_CANDIDATES = {Task.RANK, Task.RECENTLY_VIEWED, Task.SEARCH}

_RELEVANCE = np.array([2, 2, 1, 0.5], np.float32)  # two matches are equally good


def _queries(strategy: Strategy) -> list[Query]:
    """Return queries of every task of the strategy: long lists and short, much allowed and nothing."""
    vocabulary, available = checkerboard().vocabulary, checkerboard().available
    nothing = np.zeros(len(vocabulary), np.bool_)
    every_other = available & (np.arange(len(vocabulary)) % 2 == 0)
    eligible = [
        Eligibility(available),
        Eligibility(available, frozen(vocabulary.known(["a", "f", "gone"]))),
        Eligibility(frozen(every_other), frozen(vocabulary.known(["b"]))),
        Eligibility(frozen(nothing)),
    ]
    histories = [(), ("a",), ("new",), ("a", "c", "a", "gone", "e")]
    limits = (1, 3, 100)
    return [
        Query(
            task=task,
            limit=limit,
            time=NOW,
            eligible=allowed,
            history=_history(vocabulary.known(ids), "view" if task == Task.RECENTLY_VIEWED else "purchase"),
            items=frozen(vocabulary.known(ids[:1] if task == Task.SIMILAR else ids))
            if task in {Task.SIMILAR, Task.RELATED}
            else frozen(vocabulary.known(())),
            candidates=frozen(vocabulary.known(_candidates(task, ids)))
            if task in _TASKS_WITH_CANDIDATES
            else None,
            relevance=frozen(_RELEVANCE[: len(_candidates(task, ids))]) if task == Task.SEARCH else NO_SCORES,
            text="item" if task == Task.SEARCH else "",
            explain=limit > 1,
        )
        for task, limit, allowed, ids in product(sorted(strategy.tasks), limits, eligible, histories)
    ]


def _candidates(task: Task, ids: Sequence[str]) -> Sequence[str]:
    """Return ids that alone may be shown; a caller's list may name one twice, matches do not."""
    given = ids[::-1] or ("f", "b", "new")
    return tuple(dict.fromkeys(given)) if task == Task.SEARCH else given


def _history(rows: Rows, event_type: str) -> History:
    return History(
        rows=frozen(rows),
        types=frozen(np.full(len(rows), event_type)),
        times=frozen(NOW - np.arange(len(rows), 0, -1, dtype=np.int64) * DAY),
    )


def _known(vocabulary: Vocabulary, ids: Sequence[str]) -> Rows:
    rows = vocabulary.rows(ids)
    if UNKNOWN in rows:
        raise ValueError(f"the catalog has no item {ids[rows.tolist().index(UNKNOWN)]!r}")
    return rows


def _agree(first: Ranking, second: Ranking) -> bool:
    """Compare scores but for rounding, and rows but for the order among equal scores."""
    if len(first) != len(second):
        return False
    scores = dict(zip(second.rows.tolist(), second.scores.tolist(), strict=True))
    found = [scores.get(row, second.scores[-1]) for row in first.rows.tolist()]
    return all(np.allclose(each, first.scores, rtol=1e-4, atol=1e-6) for each in (second.scores, found))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)

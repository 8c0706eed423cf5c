"""The promises of every strategy, as tests to inherit."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType

import numpy as np

from endcap.sdk.model import Model
from endcap.sdk.parameters import NoParameters
from endcap.sdk.query import NO_SCORES, Eligibility, Query, Ranking, Task
from endcap.sdk.strategy import ScoringStrategy, Strategy, StrategyFactory
from endcap.sdk.testing.small_shop import (
    NOW,
    FakeResources,
    SampleEvent,
    SampleItem,
    SampleShop,
    catalog,
    checkerboard,
    history_of,
)


class StrategyContract:
    """The promises of every strategy. Inherit it and set ``strategy``.

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

    def shop(self, items: Iterable[SampleItem | str], events: Iterable[SampleEvent] = ()) -> SampleShop:
        """Return a shop that the strategy recommends for."""
        return SampleShop(self.build(), catalog(items, events))

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
        """The other queries of a batch change no answer."""
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

    def test_lists_hold_what_has_a_score_in_the_order_of_scores(self) -> None:
        """For-you and rank: a long list holds every item with a score, and ``score`` gives NaN for the rest.

        Evaluation ranks by ``score``, while answers come from ``recommend``.
        """
        strategy, everything = self.build(), np.arange(len(checkerboard()), dtype=np.int32)
        if not isinstance(strategy, ScoringStrategy):
            return
        queries = [
            query
            for query in _queries(strategy)
            if query.task in {Task.FOR_YOU, Task.RANK} and query.limit >= len(everything)
        ]
        scores = strategy.score(queries, None, checkerboard())
        rankings = strategy.recommend(queries, checkerboard())
        for query, own, ranking in zip(queries, scores, rankings, strict=True):
            shown = query.eligible.allows(everything) & ~np.isnan(own)
            if query.candidates is not None:
                shown &= np.isin(everything, query.candidates)
            _require(
                set(ranking.rows.tolist()) == set(np.flatnonzero(shown).tolist()),
                f"{query.task}: score must give NaN for items that recommend leaves out, and for no others",
            )
            listed = own[ranking.rows]
            slack = 1e-6 + 1e-4 * np.abs(listed[1:])
            _require(
                bool((listed[1:] <= listed[:-1] + slack).all()),
                f"{query.task}: recommend and score put items in different orders",
            )

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
        Eligibility(available, vocabulary.known(["a", "f", "gone"])),
        Eligibility(every_other, vocabulary.known(["b"])),
        Eligibility(nothing),
    ]
    histories = [(), ("a",), ("new",), ("a", "c", "a", "gone", "e")]
    limits = (1, 3, 100)
    return [
        Query(
            task=task,
            limit=limit,
            time=NOW,
            eligible=allowed,
            history=history_of(vocabulary.known(ids), "view" if task == Task.RECENTLY_VIEWED else "purchase"),
            items=vocabulary.known(ids[:1] if task == Task.SIMILAR else ids)
            if task in {Task.SIMILAR, Task.RELATED}
            else vocabulary.known(()),
            candidates=vocabulary.known(_candidates(task, ids)) if task in _TASKS_WITH_CANDIDATES else None,
            relevance=_RELEVANCE[: len(_candidates(task, ids))] if task == Task.SEARCH else NO_SCORES,
            text="item" if task == Task.SEARCH else "",
            explain=limit > 1,
        )
        for task, limit, allowed, ids in product(sorted(strategy.tasks), limits, eligible, histories)
    ]


def _candidates(task: Task, ids: Sequence[str]) -> Sequence[str]:
    """Return ids that alone may be shown; a caller's list may name one twice, matches do not."""
    given = ids[::-1] or ("f", "b", "new")
    return tuple(dict.fromkeys(given)) if task == Task.SEARCH else given


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

"""Golden queries: answers recorded at training time, which find rows that were mixed up on the way.

They are asked of a made-up catalog, because a bundle is checked where no shop's catalog is.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import (
    CatalogView,
    Eligibility,
    EventColumns,
    History,
    ItemColumns,
    Model,
    Query,
    Ranking,
    Strategy,
    Task,
    Vocabulary,
    build_view,
)
from endcap.sdk.bundle import Bundle, GoldenQuery
from endcap.sdk.errors import BundleRefused, EndcapError, FailedPrecondition
from endcap.sdk.features import AGE_BUCKETS, DAY, WEEKS


NOW = 1_700_000_000_000
"""The moment that golden queries are asked at, Unix milliseconds."""

_LIMIT = 10
_LENGTHS = (1, 2, 5, 10)
_TASKS = (Task.FOR_YOU, Task.SIMILAR, Task.RELATED, Task.TRENDING)

_RELATIVE_TOLERANCE = 1e-3
_ABSOLUTE_TOLERANCE = 1e-6


def golden_view(vocabulary: Vocabulary) -> CatalogView:
    """Make up a catalog of a bundle's items: everything about an item follows from its id alone."""
    count = len(vocabulary)
    numbers = _numbers(vocabulary, "item")
    view = build_view(
        ItemColumns(
            ids=vocabulary.ids,
            titles=vocabulary.ids,
            categories=[[f"category {number % 8}"] for number in numbers],
            prices=1 + numbers % 1000 / 10,
            available=np.ones(count, np.bool_),
            created=NOW - numbers % 1000 * DAY,
        ),
        EventColumns(
            users=np.empty(0, np.int64),
            rows=np.empty(0, np.int32),
            types=np.empty(0, np.str_),
            times=np.empty(0, np.int64),
        ),
        version="golden",
        as_of=NOW,
    )
    users_by_age, users_by_week = (
        {event_type: _users(vocabulary, event_type, count) for event_type in ("view", "purchase")}
        for count in (AGE_BUCKETS, WEEKS)
    )
    return replace(view, users_by_age=users_by_age, users_by_week=users_by_week)


def make_golden_queries(strategy: Strategy, vocabulary: Vocabulary) -> tuple[GoldenQuery, ...]:
    """Record a strategy's answers to golden queries, which are the same for equal vocabularies.

    Args:
        strategy: Built with its default parameters over the new model.
        vocabulary: The item ids of the new model.

    Raises:
        FailedPrecondition: The strategy answers none of the golden queries.
    """
    tasks = [task for task in _TASKS if task in strategy.tasks]
    questions = [question for task in tasks for question in _questions(task, vocabulary)]
    view = golden_view(vocabulary)
    rankings = strategy.recommend([_query(question, view) for question in questions], view)
    if not any(map(len, rankings)):
        raise FailedPrecondition(
            "the strategy answers no query about the items it was trained on: train it on more events"
        )
    return tuple(
        replace(question, expected=_ids(ranking, vocabulary), scores=tuple(map(float, ranking.scores)))
        for question, ranking in zip(questions, rankings, strict=True)
    )


def check_golden_queries(bundle: Bundle, model: Model, host: PluginHost) -> None:
    """Ask the golden queries of a bundle again and compare the answers.

    Args:
        bundle: Holds the queries and the expected answers.
        model: The bundle's model, loaded.
        host: Offers the strategy that runs the model.

    Raises:
        BundleRefused: The answers differ, the bundle holds no golden queries, or the strategy cannot answer.
    """
    golden_queries = bundle.manifest.golden_queries
    if not any(golden.expected for golden in golden_queries):
        raise BundleRefused(f"the bundle of model {model.name!r} has no golden queries: train it again")
    rankings = _ask(golden_queries, model, host)
    for index, (golden, ranking) in enumerate(zip(golden_queries, rankings, strict=True)):
        if not _agrees(golden, ranking, model.vocabulary):
            raise BundleRefused(
                f"the bundle of model {model.name!r} answers golden query {index} ({golden.task}) otherwise"
                " than when it was trained: its items and weights do not belong together, or its strategy"
                " has changed: train it again"
            )


def _ask(golden_queries: Sequence[GoldenQuery], model: Model, host: PluginHost) -> Sequence[Ranking]:
    try:
        strategy = Instances(host, Generation.of([model])).get(model.name)
        view = golden_view(model.vocabulary)
        rankings = strategy.recommend([_query(golden, view) for golden in golden_queries], view)
    except EndcapError as error:
        raise BundleRefused(f"the bundle of model {model.name!r} cannot be checked: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BundleRefused(
            f"the bundle of model {model.name!r} cannot be checked: {type(error).__name__} was raised"
        ) from error
    if len(rankings) != len(golden_queries):
        raise BundleRefused(
            f"strategy {model.name!r} must answer each query with one ranking: correct its method recommend"
        )
    return rankings


def _questions(task: Task, vocabulary: Vocabulary) -> list[GoldenQuery]:
    """Return the questions of one task, without answers."""
    random = np.random.default_rng(0)
    chosen = [
        tuple(vocabulary.ids[row] for row in random.permutation(len(vocabulary))[:length])
        for length in _LENGTHS
    ]
    match task:
        case Task.FOR_YOU:
            return [GoldenQuery(task.value, ids, (), expected=(), scores=()) for ids in chosen]
        case Task.SIMILAR:
            return [GoldenQuery(task.value, (), ids[:1], expected=(), scores=()) for ids in chosen]
        case Task.RELATED:
            return [GoldenQuery(task.value, (), ids, expected=(), scores=()) for ids in chosen]
        case _:
            return [GoldenQuery(task.value, (), (), expected=(), scores=())]


def _query(golden: GoldenQuery, view: CatalogView) -> Query:
    history = view.vocabulary.known(golden.history)
    items = view.vocabulary.known(golden.items)
    if len(history) + len(items) != len(golden.history) + len(golden.items):
        raise BundleRefused(
            "a golden query names items that the vocabulary does not hold: export the bundle again"
        )
    return Query(
        task=Task(golden.task),
        limit=_LIMIT,
        time=NOW,
        eligible=Eligibility(view.available, np.union1d(history, items)),
        history=History(
            rows=history,
            types=np.full(len(history), "purchase"),
            times=NOW - np.arange(len(history), 0, -1, dtype=np.int64) * DAY,
        ),
        items=items,
    )


def _agrees(golden: GoldenQuery, ranking: Ranking, vocabulary: Vocabulary) -> bool:
    """Compare scores within the tolerance, and ids but for the order among equal scores."""
    if not len(golden.expected) == len(golden.scores) == len(ranking):
        return False
    scores = dict(zip(_ids(ranking, vocabulary), ranking.scores.tolist(), strict=True))
    # An item that ties with the last one may have lost its place to another of the same score.
    found = [scores.get(item_id, ranking.scores[-1]) for item_id in golden.expected]
    return _close(ranking.scores, golden.scores) and _close(found, golden.scores)


def _close(actual: Sequence[float] | NDArray[np.float32], expected: Sequence[float]) -> bool:
    return np.allclose(actual, expected, rtol=_RELATIVE_TOLERANCE, atol=_ABSOLUTE_TOLERANCE)


def _ids(ranking: Ranking, vocabulary: Vocabulary) -> tuple[str, ...]:
    return tuple(vocabulary.ids[row] for row in ranking.rows)


def _numbers(vocabulary: Vocabulary, purpose: str) -> NDArray[np.int64]:
    start = zlib.crc32(purpose.encode())
    return np.array([zlib.crc32(item_id.encode(), start) for item_id in vocabulary.ids], np.int64)


def _users(vocabulary: Vocabulary, event_type: str, count: int) -> NDArray[np.int32]:
    """Return so many counts of each item, from 0 to 7, three bits of a number each."""
    shifts = 3 * (np.arange(count) % AGE_BUCKETS)[:, np.newaxis]
    return (_numbers(vocabulary, event_type) >> shifts & 7).astype(np.int32)

"""Golden queries: answers recorded at training time, which find rows that were mixed up on the way.

They are asked of a made-up catalog, because a bundle is checked where no shop's catalog is. Some of its
items have the titles that they had in training, which the bundle holds, so that models of texts are reached
too. In the place of other strategies there are stand-ins, because those serve with bundles of their own.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from endcap.runtime.plugin_host import PluginHost
from endcap.runtime.stand_ins import build_alone
from endcap.sdk import (
    NO_ROWS,
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
from endcap.sdk.query import NO_SCORES


NOW = 1_700_000_000_000
"""The moment that golden queries are asked at, Unix milliseconds."""

_LIMIT = 10
_LENGTHS = (1, 2, 5, 10)
_CANDIDATES = 20
_TASKS_WITH_CANDIDATES = {Task.RANK, Task.RECENTLY_VIEWED, Task.SEARCH}
_TITLES = 200

NO_TITLES: Mapping[str, str] = MappingProxyType({})
"""The titles of a bundle whose items had none."""

_RELATIVE_TOLERANCE = 1e-3
_ABSOLUTE_TOLERANCE = 1e-6


def choose_titles(items: ItemColumns) -> dict[str, str]:
    """Return the titles of some items, for a bundle to hold; the same for equal items."""
    titled = [row for row, title in enumerate(items.titles) if title]
    chosen = np.random.default_rng(0).permutation(len(titled))[:_TITLES].tolist()
    return {items.ids[titled[place]]: items.titles[titled[place]] for place in chosen}


def golden_view(vocabulary: Vocabulary, titles: Mapping[str, str] = NO_TITLES) -> CatalogView:
    """Make up a catalog of a bundle's items: all about an item but its title follows from its id alone.

    Args:
        vocabulary: The items.
        titles: The titles of some of them; the id of an item is its title otherwise.
    """
    count = len(vocabulary)
    numbers = _numbers(vocabulary, "item")
    view = build_view(
        ItemColumns(
            ids=vocabulary.ids,
            titles=[titles.get(item_id, item_id) for item_id in vocabulary.ids],
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


def make_golden_queries(
    strategy: Strategy, vocabulary: Vocabulary, titles: Mapping[str, str] = NO_TITLES
) -> tuple[GoldenQuery, ...]:
    """Record a strategy's answers to golden queries of each of its tasks.

    The queries are the same for equal vocabularies and titles.

    Args:
        strategy: Built alone over the new model, with its default parameters.
        vocabulary: The item ids of the new model.
        titles: The titles of some of its items.

    Raises:
        FailedPrecondition: The strategy answers none of the golden queries.
    """
    tasks = [task for task in Task if task in strategy.tasks]
    questions = [question for task in tasks for question in _questions(task, vocabulary, titles)]
    view = golden_view(vocabulary, titles)
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
    golden_queries, titles = bundle.manifest.golden_queries, bundle.manifest.golden_titles
    if not any(golden.expected for golden in golden_queries):
        raise BundleRefused(f"the bundle of model {model.name!r} has no golden queries: train it again")
    rankings = _ask(golden_queries, titles, model, host)
    for index, (golden, ranking) in enumerate(zip(golden_queries, rankings, strict=True)):
        if not _agrees(golden, ranking, model.vocabulary):
            raise BundleRefused(
                f"the bundle of model {model.name!r} answers golden query {index} ({golden.task}) otherwise"
                " than when it was trained: its items and weights do not belong together, or its strategy"
                " has changed: train it again"
            )


def _ask(
    golden_queries: Sequence[GoldenQuery], titles: Mapping[str, str], model: Model, host: PluginHost
) -> Sequence[Ranking]:
    try:
        strategy = build_alone(model, host)
        view = golden_view(model.vocabulary, titles)
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


def _questions(task: Task, vocabulary: Vocabulary, titles: Mapping[str, str]) -> list[GoldenQuery]:
    """Return the questions of one task, without answers."""
    random = np.random.default_rng(0)
    # Items with a title are asked about first: a model of texts may know nothing of the others.
    titled = [item_id for item_id in vocabulary.ids if item_id in titles] or list(vocabulary.ids)
    chosen = [
        tuple(titled[place] for place in random.permutation(len(titled))[:length]) for length in _LENGTHS
    ]
    candidates = tuple(titled[place] for place in random.permutation(len(titled))[:_CANDIDATES])
    question = GoldenQuery(task.value, history=(), items=(), expected=(), scores=())
    texts = [titles.get(ids[0], ids[0]) for ids in chosen]
    asked = {
        Task.FOR_YOU: [replace(question, history=ids) for ids in chosen],
        Task.SIMILAR: [replace(question, items=ids[:1]) for ids in chosen],
        Task.RELATED: [replace(question, items=ids) for ids in chosen],
        Task.RANK: [replace(question, history=ids, items=candidates) for ids in chosen],
        Task.SEARCH: [replace(question, text=text, items=candidates) for text in texts],
        Task.RECENTLY_VIEWED: [replace(question, items=candidates)],
    }
    return asked.get(task, [question])


def _query(golden: GoldenQuery, view: CatalogView) -> Query:
    history = view.vocabulary.known(golden.history)
    items = view.vocabulary.known(golden.items)
    if len(history) + len(items) != len(golden.history) + len(golden.items):
        raise BundleRefused(
            "a golden query names items that the vocabulary does not hold: export the bundle again"
        )
    task = Task(golden.task)
    listed = task in _TASKS_WITH_CANDIDATES
    shown = np.setdiff1d(history, items) if listed else np.union1d(history, items)
    relevance = np.linspace(1, 0.5, len(items), dtype=np.float32)
    return Query(
        task=task,
        limit=_LIMIT,
        time=NOW,
        eligible=Eligibility(view.available, shown),
        history=History(
            rows=history,
            types=np.full(len(history), "purchase"),
            times=NOW - np.arange(len(history), 0, -1, dtype=np.int64) * DAY,
        ),
        items=NO_ROWS if listed else items,
        candidates=items if listed else None,
        relevance=relevance if task is Task.SEARCH else NO_SCORES,
        text=golden.text,
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

"""Golden queries: answers recorded at training time, which find rows that were mixed up on the way.

They are asked of a made-up catalog, because a bundle is checked where no shop's catalog is.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import (
    NO_ROWS,
    CatalogView,
    Eligibility,
    EventColumns,
    History,
    ItemColumns,
    Model,
    Query,
    Rows,
    Strategy,
    Task,
    Vocabulary,
    build_view,
)
from endcap.sdk.bundle import Bundle, GoldenQuery
from endcap.sdk.errors import BundleRefused
from endcap.sdk.features import DAY


_NOW = 1_000 * DAY
_QUERIES = 8
_HISTORY = 3
_LIMIT = 10
_TOLERANCE = 1e-3


def golden_view(vocabulary: Vocabulary) -> CatalogView:
    """Return a made-up catalog of a bundle's items, the same wherever it is made.

    Every item is available and was bought once, as many days ago as its id's checksum says.
    """
    count = len(vocabulary)
    ages = np.array([zlib.crc32(item_id.encode()) % 400 for item_id in vocabulary.ids], np.int64)
    return build_view(
        ItemColumns(
            ids=vocabulary.ids,
            titles=vocabulary.ids,
            categories=[()] * count,
            prices=np.full(count, np.nan),
            available=np.ones(count, np.bool_),
            created=np.zeros(count, np.int64),
        ),
        EventColumns(
            users=np.arange(count),
            rows=np.arange(count, dtype=np.int32),
            types=np.full(count, "purchase"),
            times=_NOW - ages * DAY,
        ),
        version="golden",
        as_of=_NOW,
    )


def make_golden_queries(strategy: Strategy, vocabulary: Vocabulary) -> tuple[GoldenQuery, ...]:
    """Ask a strategy a few questions about its own items and write down the answers."""
    rows = np.linspace(0, len(vocabulary) - 1, num=min(_QUERIES, len(vocabulary)), dtype=np.int64)
    asked = [
        (task, tuple(vocabulary.ids[(row + step) % len(vocabulary)] for step in range(_HISTORY)))
        for task in sorted(strategy.tasks & {Task.FOR_YOU, Task.SIMILAR})
        for row in rows
    ]
    return tuple(_answers(strategy, vocabulary, asked))


def check_golden_queries(bundle: Bundle, model: Model, host: PluginHost) -> None:
    """Ask the bundle's golden queries again.

    Raises:
        BundleRefused: An answer is another one than at training: rows were mixed up, or the strategy is
            not the one that the bundle was made for.
    """
    strategy = Instances(host, Generation.of([model])).get(bundle.manifest.model)
    golden = bundle.manifest.golden_queries
    asked = [(Task(query.task), query.history or query.items) for query in golden]
    answers = _answers(strategy, bundle.vocabulary, asked)
    for number, (wanted, found) in enumerate(zip(golden, answers, strict=True)):
        same = len(wanted.scores) == len(found.scores) and np.allclose(
            wanted.scores, found.scores, rtol=_TOLERANCE, atol=_TOLERANCE
        )
        # The items of equal scores may trade places, and the last one may be another of its score.
        if not same or len(set(wanted.expected) - set(found.expected)) > 1:
            raise BundleRefused(
                f"golden query {number} gives another answer than at training: train it again"
            )


def _answers(
    strategy: Strategy, vocabulary: Vocabulary, asked: Sequence[tuple[Task, tuple[str, ...]]]
) -> list[GoldenQuery]:
    view = golden_view(vocabulary)
    queries = [_query(task, vocabulary.known(item_ids), view) for task, item_ids in asked]
    return [
        GoldenQuery(
            task=task.value,
            history=item_ids if task is Task.FOR_YOU else (),
            items=() if task is Task.FOR_YOU else item_ids,
            expected=tuple(vocabulary.ids[row] for row in ranking.rows),
            scores=tuple(float(score) for score in ranking.scores),
        )
        for (task, item_ids), ranking in zip(asked, strategy.recommend(queries, view), strict=True)
    ]


def _query(task: Task, rows: Rows, view: CatalogView) -> Query:
    times = _NOW - np.arange(len(rows), 0, -1, dtype=np.int64) * DAY
    for_you = task is Task.FOR_YOU
    return Query(
        task=task,
        limit=_LIMIT,
        time=_NOW,
        eligible=Eligibility(view.available, np.unique(rows)),
        history=History(rows, np.full(len(rows), "purchase"), times) if for_you else History(),
        items=NO_ROWS if for_you else rows,
    )

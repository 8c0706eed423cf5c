"""Evaluates a strategy on a data set, through the same calls that serve requests."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.beyond_accuracy import (
    ItemUsers,
    catalog_coverage,
    gini,
    intra_list_diversity,
    novelty,
    recommendation_counts,
)
from endcap.evaluation.data import Cases, HeldOut
from endcap.evaluation.intervals import bootstrap_intervals
from endcap.evaluation.metrics import Ranks, accuracy, ranks_by_score, ranks_in_lists
from endcap.evaluation.ragged import Ragged
from endcap.evaluation.report import Measure, Report, SliceReport
from endcap.sdk.catalog_view import CatalogView
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Query, Ranking
from endcap.sdk.ranking import top
from endcap.sdk.strategy import ScoringStrategy, Strategy
from endcap.sdk.vocabulary import UNKNOWN, Rows, Scores


BATCH_SIZE = 256
"""Queries in one call of a strategy."""

TIMED_QUERIES = 100
"""Queries asked one by one to measure the time of an answer."""

Progress = Callable[[int, int], None]
"""A callback that gets the number of cases done and the number of all cases."""


def _no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def evaluate(
    strategy: Strategy,
    view: CatalogView,
    data: HeldOut,
    *,
    name: str,
    cutoffs: Sequence[int] = (5, 10, 20),
    seed: int = 0,
    progress: Progress = _no_progress,
) -> Report:
    """Ask a strategy every case and measure its answers.

    Lists are those that ``recommend`` serves. A strategy that scores is ranked in full, if its lists are the
    best items by its scores; any other is tested by its lists, and the report says so. Items that are not
    eligible, that the user has seen, or that the strategy does not score are not ranked.

    Args:
        strategy: The strategy to evaluate; it must answer the task of the cases.
        view: The catalog at ``data.as_of``, its rows in the order of ``data.items``.
        data: The test cases and their targets.
        name: What the report calls the strategy.
        cutoffs: The depths of the metrics; lists are as long as the deepest.
        seed: Fixes the bootstrap, and the samples of diversity and timing.
        progress: Called after each batch.

    Raises:
        InvalidInput: The strategy does not answer the task, or the view holds other items than the data.
    """
    task = data.groups[0].task
    if task not in strategy.tasks:
        raise InvalidInput(f"{name} does not answer the task {task}: evaluate a strategy that does")
    if view.vocabulary.ids != tuple(data.items.ids):
        raise InvalidInput("the view holds other items than the data: build it from the data's own snapshot")
    examiner = _Examiner(strategy, view, data, max(cutoffs), progress)
    answers = [examiner.ask(cases) for cases in data.groups]
    median, slow = examiner.time_queries(seed)
    headline = data.groups[0]
    return Report(
        strategy=name,
        data=data.name,
        protocol=data.protocol,
        scored=examiner.scored,
        items=int(np.count_nonzero(headline.eligible)),
        events=len(data.events.rows),
        slices={
            slice_name: part
            for cases, answer in zip(data.groups, answers, strict=True)
            for slice_name, part in _measure_slices(
                cases, answer.by_score if examiner.scored else answer.by_list, cutoffs, seed
            )
        },
        beyond=_measure_lists(answers[0].lists, headline.eligible, data, seed),
        query_milliseconds=median,
        query_milliseconds_p95=slow,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """The answers of a strategy to some cases."""

    by_score: Ranks
    """The ranks of the targets among all items, if the strategy scores."""

    by_list: Ranks
    """The ranks of the targets in the lists."""

    lists: Rows
    """``(cases, list length)``, -1 fills a short list."""


class _Examiner:
    """Puts the cases of a data set to one strategy."""

    def __init__(
        self, strategy: Strategy, view: CatalogView, data: HeldOut, length: int, progress: Progress
    ) -> None:
        self._strategy = strategy
        self._view = view
        self._data = data
        self._length = length
        self.scored = isinstance(strategy, ScoringStrategy)
        """Whether every list asked so far holds the best items by the strategy's own scores."""
        self._progress = progress
        self._total = sum(len(cases) for cases in data.groups)
        self._done = 0

    def ask(self, cases: Cases) -> _Answers:
        answers = []
        for start in range(0, len(cases), BATCH_SIZE):
            batch = np.arange(start, min(start + BATCH_SIZE, len(cases)))
            queries = [self._query(cases, case) for case in batch.tolist()]
            answers.append(self._answer(queries, cases.targets.take(batch)))
            self._done += len(batch)
            self._progress(self._done, self._total)
        return _Answers(
            Ranks.joined([answer.by_score for answer in answers]),
            Ranks.joined([answer.by_list for answer in answers]),
            np.concatenate([answer.lists for answer in answers]),
        )

    def time_queries(self, seed: int) -> tuple[float, float]:
        """Return the median and the 95th percentile of the milliseconds that one query alone takes."""
        cases = self._data.groups[0]
        sample = np.random.default_rng(seed).permutation(len(cases))[:TIMED_QUERIES]
        durations = []
        for case in sample.tolist():
            query = self._query(cases, case)
            started = time.perf_counter()
            self._strategy.recommend([query], self._view)
            durations.append((time.perf_counter() - started) * 1000)
        return float(np.median(durations)), float(np.quantile(durations, 0.95))

    def _answer(self, queries: Sequence[Query], targets: Ragged) -> _Answers:
        lists = _lists(self._strategy.recommend(queries, self._view), queries)
        by_list = ranks_in_lists(lists, targets)
        if not isinstance(self._strategy, ScoringStrategy) or not self.scored:
            return _Answers(by_list, by_list, lists)
        scores = _masked(self._strategy.score(queries, None, self._view), queries)
        self.scored = all(map(_holds_the_best, lists, scores, queries))
        return _Answers(ranks_by_score(scores, targets), by_list, lists)

    def _query(self, cases: Cases, case: int) -> Query:
        return cases.query(case, limit=self._length, time=self._data.as_of, seen_types=self._data.seen_types)


def _masked(scores: Scores, queries: Sequence[Query]) -> Scores:
    """Return the scores with NaN wherever an item must not be shown."""
    masked = np.where(queries[0].eligible.mask, scores, np.float32(np.nan))
    for row, query in zip(masked, queries, strict=True):
        row[query.eligible.excluded] = np.nan
        if query.candidates is not None:
            row[~np.isin(np.arange(len(row)), query.candidates)] = np.nan
    return masked


def _holds_the_best(items: Rows, scores: Scores, query: Query) -> bool:
    """Return whether a list is the best items by score, but for rounding and the order of equal scores."""
    listed, best = scores[items[items != UNKNOWN]], top(scores, query).scores
    return len(listed) == len(best) and np.allclose(listed, best, rtol=1e-4, atol=1e-6)


def _lists(rankings: Sequence[Ranking], queries: Sequence[Query]) -> Rows:
    """Lay rankings side by side; an item that must not be shown leaves its position empty."""
    lists = np.full((len(queries), queries[0].limit), UNKNOWN, np.int32)
    for row, ranking, query in zip(lists, rankings, queries, strict=True):
        shown = ranking.rows[: query.limit]
        row[: len(shown)] = np.where(query.eligible.allows(shown), shown, UNKNOWN)
    return lists


def _measure_slices(
    cases: Cases, ranks: Ranks, cutoffs: Sequence[int], seed: int
) -> Iterator[tuple[str, SliceReport]]:
    yield cases.name, _measure(cases, ranks, np.ones(len(ranks.before), np.bool_), cutoffs, seed)
    for name, mask in cases.slices.items():
        if mask.any():
            yield name, _measure(cases, ranks, mask, cutoffs, seed)


def _measure(
    cases: Cases, ranks: Ranks, mask: NDArray[np.bool_], cutoffs: Sequence[int], seed: int
) -> SliceReport:
    """Measure the targets that a mask keeps."""
    targets, clusters = cases.targets.keep(mask), cases.clusters
    taking_part = np.flatnonzero(targets.lengths)
    grades = None if cases.grades is None else cases.grades[mask]
    part = Ranks(ranks.before[mask], ranks.tied[mask])
    metrics = accuracy(part, targets.take(taking_part), cutoffs, grades)
    values = np.column_stack(list(metrics.values()))
    own_clusters = None if clusters is None else clusters[taking_part]
    low, high = bootstrap_intervals(values, own_clusters, seed=seed)
    means = values.mean(axis=0)
    return SliceReport(
        cases=len(taking_part),
        metrics={
            metric: Measure(float(mean), float(lower), float(upper))
            for metric, mean, lower, upper in zip(metrics, means, low, high, strict=True)
        },
        values=values,
        clusters=own_clusters,
    )


def _measure_lists(lists: Rows, eligible: NDArray[np.bool_], data: HeldOut, seed: int) -> dict[str, float]:
    counts = recommendation_counts(lists, len(eligible))[eligible]
    item_users = ItemUsers(data.events, len(eligible))
    length = lists.shape[1]
    return {
        f"coverage@{length}": catalog_coverage(counts),
        f"novelty@{length}": novelty(lists, item_users),
        f"diversity@{length}": intra_list_diversity(lists, item_users, seed=seed),
        f"gini@{length}": gini(counts),
    }

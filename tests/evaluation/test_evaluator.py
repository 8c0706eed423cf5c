"""Strategies tested on five sequences whose targets are known."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endcap.evaluation import EvaluationData, Report, evaluate, read_evaluation_data
from endcap.sdk import (
    NO_RANKING,
    CatalogView,
    Query,
    Ranking,
    Rows,
    Scores,
    Strategy,
    Task,
    build_view,
    recommend_by_score,
    top,
)
from endcap.sdk.errors import InvalidInput


@pytest.fixture
def letters(tmp_path: Path) -> EvaluationData:
    """Users choose abcd, bcda, cdab, dabc and efg: the next letter is always right."""
    tmp_path.joinpath("sequences.txt").write_text(
        "1 1 2 3 4\n2 2 3 4 1\n3 3 4 1 2\n4 4 1 2 3\n5 5 6 7\n", encoding="utf-8"
    )
    titles = "".join(f"{number}\t{letter}\n" for number, letter in enumerate("abcdefg", 1))
    tmp_path.joinpath("items.tsv").write_text("item\ttitle\n" + titles, encoding="utf-8")
    return read_evaluation_data(tmp_path)


class NextLetter:
    """Scores the letter after the newest one 1 and all others 0."""

    tasks = frozenset({Task.FOR_YOU})

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        letters = np.array([ord(title) - ord("a") for title in catalog.titles])
        newest = np.array([letters[query.history.rows[-1]] for query in queries])
        after = np.where(newest < 4, (newest + 1) % 4, newest + 1)
        scores: Scores = (letters == after[:, None]).astype(np.float32)
        return scores


class NextLetterAsList:
    """Recommends the letter after the newest one, and nothing else."""

    tasks = frozenset({Task.FOR_YOU})

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        scores = NextLetter().score(queries, None, catalog)
        return [Ranking(np.flatnonzero(row).astype(np.int32), row[row > 0]) for row in scores]


class Constant:
    """Scores every item alike."""

    tasks = frozenset({Task.FOR_YOU})

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        return np.zeros((len(queries), len(catalog)), np.float32)


class KnowsAndServesNone(NextLetter):
    """Scores the letter after the newest one best, and recommends one item of the lowest score."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        rankings = [
            top(-row, query) for row, query in zip(self.score(queries, None, catalog), queries, strict=True)
        ]
        return [Ranking(ranking.rows[:1], ranking.scores[:1]) for ranking in rankings]


class SeenAgain(NextLetterAsList):
    """Recommends what the user had last."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return [Ranking(query.history.rows[-1:], np.ones(1, np.float32)) for query in queries]


class Silent(NextLetterAsList):
    """Recommends nothing."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return [NO_RANKING for _ in queries]


def value(report: Report, metric: str, part: str = "all") -> float:
    return report.slices[part].metrics[metric].value


@pytest.mark.parametrize(("strategy", "scored"), [(NextLetter(), True), (NextLetterAsList(), False)])
def test_a_strategy_that_knows_is_always_right(
    letters: EvaluationData, strategy: Strategy, scored: bool
) -> None:
    report = evaluate(strategy, letters.view(), letters, name="next", cutoffs=(1, 3))

    assert report.scored is scored
    assert report.slices["all"].cases == 5
    assert report.items == 7
    assert value(report, "hit@1") == 1
    assert value(report, "ndcg@3") == 1
    assert value(report, "precision@3") == pytest.approx(1 / 3)


def test_a_strategy_that_serves_other_items_than_it_scores_best_is_tested_by_what_it_serves(
    letters: EvaluationData,
) -> None:
    report = evaluate(KnowsAndServesNone(), letters.view(), letters, name="hidden", cutoffs=(1,))

    assert report.scored is False
    assert value(report, "hit@1") == 0


def test_coverage_is_of_the_lists_that_are_served(letters: EvaluationData) -> None:
    class Mute(NextLetter):
        """Scores, and recommends nothing."""

        def recommend(self, queries: Sequence[Query], _catalog: CatalogView) -> list[Ranking]:
            return [NO_RANKING for _ in queries]

    report = evaluate(Mute(), letters.view(), letters, name="mute", cutoffs=(3,))

    assert report.beyond["coverage@3"] == 0


def test_equal_scores_are_worth_chance_among_the_items_not_seen(letters: EvaluationData) -> None:
    report = evaluate(Constant(), letters.view(), letters, name="constant", cutoffs=(2,))

    # Four users have seen three of seven items, one has seen two: two places of four, or of five.
    assert value(report, "hit@2") == pytest.approx((4 * 2 / 4 + 2 / 5) / 5)


def test_a_list_of_seen_items_is_worth_nothing(letters: EvaluationData) -> None:
    report = evaluate(SeenAgain(), letters.view(), letters, name="again", cutoffs=(2,))

    assert value(report, "hit@2") == 0
    assert report.beyond["coverage@2"] == 0


def test_empty_lists_are_worth_nothing(letters: EvaluationData) -> None:
    report = evaluate(Silent(), letters.view(), letters, name="silent")

    assert value(report, "recall@20") == 0
    assert report.beyond == {"coverage@20": 0, "novelty@20": 0, "diversity@20": 0, "gini@20": 0}


def test_seen_items_are_ranked_where_nothing_is_masked(letters: EvaluationData) -> None:
    unmasked = dataclasses.replace(letters, seen_types=frozenset())

    report = evaluate(SeenAgain(), letters.view(), unmasked, name="again", cutoffs=(1,))

    assert report.beyond["coverage@1"] == pytest.approx(5 / 7)


def test_items_that_are_not_eligible_are_not_ranked(letters: EvaluationData) -> None:
    (cases,) = letters.groups
    only_targets = np.zeros(7, np.bool_)
    only_targets[cases.targets.flat] = True
    narrow = dataclasses.replace(letters, groups=(dataclasses.replace(cases, eligible=only_targets),))

    report = evaluate(Constant(), letters.view(), narrow, name="constant", cutoffs=(1,))

    # Of a, b, c, d and g, a user who saw three letters has two left, and the user of g all five.
    assert report.items == 5
    assert value(report, "hit@1") == pytest.approx((4 / 2 + 1 / 5) / 5)


def test_slices_are_reported_beside_the_whole(letters: EvaluationData) -> None:
    report = evaluate(NextLetter(), letters.view(), letters, name="next")

    assert list(report.slices) == ["all", "cold_users", "cold_items"]
    assert report.slices["cold_items"].cases == 1
    assert value(report, "recall@20", "cold_users") == 1


def test_progress_ends_at_the_number_of_cases(letters: EvaluationData) -> None:
    seen: list[tuple[int, int]] = []

    evaluate(
        NextLetter(),
        letters.view(),
        letters,
        name="next",
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == [(5, 5)]


def test_a_strategy_for_other_tasks_is_rejected(letters: EvaluationData) -> None:
    class Similar(NextLetter):
        tasks = frozenset({Task.SIMILAR})

    with pytest.raises(InvalidInput, match="does not answer the task for-you"):
        evaluate(Similar(), letters.view(), letters, name="similar")


def test_the_view_of_another_catalog_is_rejected(letters: EvaluationData) -> None:
    others = dataclasses.replace(letters.items, ids=[f"other-{row}" for row in range(7)])
    view = build_view(others, letters.events, version="other", as_of=letters.as_of)

    with pytest.raises(InvalidInput, match="other items than the data"):
        evaluate(NextLetter(), view, letters, name="next")


def test_a_seed_fixes_every_figure_but_the_times(letters: EvaluationData) -> None:
    def figures(seed: int, view: CatalogView, data: EvaluationData) -> dict[str, Any]:
        report = evaluate(Constant(), view, data, name="constant", cutoffs=(2,), seed=seed)
        return dataclasses.replace(report, query_milliseconds=0, query_milliseconds_p95=0).to_dict()

    assert figures(3, letters.view(), letters) == figures(3, letters.view(), letters)


def test_intervals_are_by_cluster(letters: EvaluationData) -> None:
    (cases,) = letters.groups
    together = dataclasses.replace(cases, clusters=np.zeros(5, np.int64))
    one = dataclasses.replace(letters, groups=(together,))

    report = evaluate(Constant(), letters.view(), one, name="constant", cutoffs=(2,))

    # There is one cluster, and so one draw.
    measure = report.headline.metrics["hit@2"]
    assert measure.low == pytest.approx(measure.value) == measure.high

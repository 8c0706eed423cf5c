"""Tasks beside for-you, judged on data sets small enough to count."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from endcap.evaluation import evaluate, read_evaluation_data, read_tuning_data
from endcap.evaluation.metrics import Ranks, accuracy
from endcap.evaluation.ragged import Ragged
from endcap.evaluation.text_matches import TextMatches
from endcap.sdk import CatalogView, Query, Ranking, Rows, Scores, Task, recommend_by_score
from endcap.sdk.errors import InvalidInput


class ById:
    """Scores items by their ids, the last in the alphabet best, whatever the task."""

    tasks = frozenset({Task.RELATED, Task.SIMILAR, Task.RANK, Task.SEARCH})

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        scores = np.array([ord(each) for each in catalog.vocabulary.ids], np.float32)
        return np.tile(scores if rows is None else scores[rows], (len(queries), 1))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Four items: a goes with d and b, d with c, and b can replace a."""
    events = "".join(
        f"{user},{item},{time}\n"
        for time, (user, item) in enumerate([("1", "a"), ("1", "b"), ("2", "c"), ("2", "d")])
    )
    tmp_path.joinpath("train.csv").write_text("user,item,time\n" + events, encoding="utf-8")
    tmp_path.joinpath("links.csv").write_text(
        "item,target,relation\na,d,complement\na,b,complement\nd,c,complement\nb,a,substitute\n",
        encoding="utf-8",
    )
    return tmp_path


def test_related_is_judged_by_complements_and_an_item_is_not_its_own(linked: Path) -> None:
    """For a the ranking is d, c, b; for d, which is no candidate of itself, c, b, a."""
    data = read_evaluation_data(linked, task=Task.RELATED)

    report = evaluate(ById(), data.view(), data, name="by id", cutoffs=(1, 2))

    assert report.headline.cases == 2
    assert report.headline.metrics["hit@1"].value == 1
    assert report.headline.metrics["recall@2"].value == (0.5 + 1) / 2
    assert len(data.events.rows) == 4


def test_similar_is_judged_by_substitutes(linked: Path) -> None:
    """For b the ranking is d, c, a: the only target is third."""
    data = read_evaluation_data(linked, task=Task.SIMILAR)

    report = evaluate(ById(), data.view(), data, name="by id", cutoffs=(2, 3))

    assert (report.headline.cases, report.headline.metrics["hit@2"].value) == (1, 0)
    assert report.headline.metrics["mrr@3"].value == pytest.approx(1 / 3)


def test_a_task_or_setting_that_links_lack_is_refused(linked: Path) -> None:
    with pytest.raises(InvalidInput, match="has links for related and similar only, not for for-you"):
        read_evaluation_data(linked)
    with pytest.raises(InvalidInput, match="all of its links are the test"):
        read_tuning_data(linked)


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    """Two users bought a and b in January; the first one buys c, which a third user knew, in March."""
    path = tmp_path / "events.csv"
    bought = ["1,a,2020-01-01", "2,a,2020-01-01", "2,b,2020-01-02", "3,c,2020-01-03", "1,c,2020-03-01"]
    path.write_text("user,item,time\n" + "\n".join(bought), encoding="utf-8")
    tmp_path.joinpath("items.csv").write_text(
        "item_id,title\na,red mug\nb,blue mug\nc,red red kettle\n", encoding="utf-8"
    )
    return path


def test_rank_puts_targets_in_order_among_others(dated: Path) -> None:
    """User 1 has seen a; c is ranked against b, the only other item."""
    data = read_evaluation_data(dated, task=Task.RANK)

    (cases,) = data.groups
    query = cases.query(0, limit=2, time=data.as_of, seen_types=data.seen_types)
    assert query.task is Task.RANK
    assert query.candidates is not None
    assert sorted(data.items.ids[row] for row in query.candidates) == ["b", "c"]
    assert (
        evaluate(ById(), data.view(), data, name="by id", cutoffs=(1,)).headline.metrics["hit@1"].value == 1
    )


def test_search_is_judged_by_a_file_of_grades(dated: Path) -> None:
    judged = dated.parent / "judged.tsv"
    judged.write_text("query,item,grade\nred mug,a,2\nred mug,c,1\nred mug,b,0\nblue,b,1\n", encoding="utf-8")

    data = read_evaluation_data(dated, task=Task.SEARCH, judged=judged)
    report = evaluate(ById(), data.view(), data, name="by id", cutoffs=(2,))

    (cases,) = data.groups
    asked = [cases.query(case, limit=2, time=0, seen_types=frozenset()) for case in range(2)]
    assert [query.text for query in asked] == ["red mug", "blue"]
    found = [
        [data.items.ids[row] for row in query.candidates] for query in asked if query.candidates is not None
    ]
    assert (found[0][0], sorted(found[0]), found[1]) == ("a", ["a", "b", "c"], ["b"])
    assert all(len(query.relevance) == len(ids) for query, ids in zip(asked, found, strict=True))
    # By id c comes first, then b, which is not relevant: 1 of an ideal 3 + 1 / log2(3); blue finds b.
    first = 1 / (3 + 1 / np.log2(3))
    assert report.headline.metrics["ndcg@2"].value == pytest.approx((first + 1) / 2)


def test_search_needs_judgements_of_items_that_exist(dated: Path) -> None:
    with pytest.raises(InvalidInput, match="needs a file of judged queries"):
        read_evaluation_data(dated, task=Task.SEARCH)
    judged = dated.parent / "judged.tsv"
    judged.write_text("query,item\nred,z\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="names no item of"):
        read_evaluation_data(dated, task=Task.SEARCH, judged=judged)


def test_rarer_words_and_shorter_texts_match_better(dated: Path) -> None:
    """Red is in two titles of three, kettle in one; a title of two words is shorter than one of three."""
    data = read_evaluation_data(dated)
    candidates, relevance = TextMatches(data.items).of(["kettle", "mug", "pot"])

    ids = [[data.items.ids[row] for row in candidates[index]] for index in range(3)]
    assert (ids[0], sorted(ids[1]), ids[2]) == (["c"], ["a", "b"], [])
    # ln(1 + 2.5/1.5) · 2.2 / (1 + 1.2 · (.25 + .75 · 3 / (7/3)))
    assert relevance[0] == pytest.approx(np.log(1 + 2.5 / 1.5) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 9 / 7)))


def test_a_grade_counts_by_powers_of_two() -> None:
    """Grades 2 and 1 at ranks 2 and 1: 1 + 3 / log2(3), of an ideal 3 + 1 / log2(3)."""
    ranks = Ranks(np.array([1, 0]), np.ones(2, np.int64))

    found = accuracy(ranks, Ragged.of([[4, 5]]), (2,), np.array([2.0, 1.0]))

    assert found["ndcg@2"][0] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_the_relevant_items_of_a_case_are_asked_with_its_own_page(linked: Path) -> None:
    data = read_evaluation_data(linked, task=Task.RELATED)

    (cases,) = data.groups
    pages = [cases.query(case, limit=1, time=0, seen_types=frozenset()) for case in range(2)]
    assert sorted(data.items.ids[query.items[0]] for query in pages) == ["a", "d"]
    assert all(query.eligible.excluded.tolist() == query.items.tolist() for query in pages)
    assert dataclasses.replace(data, groups=()).events is data.events

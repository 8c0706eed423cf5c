"""Judged tasks beside for-you: similar and related by links, search by a judged file, rank by candidates."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from endcap.evaluation.csv_files import read_table
from endcap.evaluation.data import CaseHistories, Cases, EvaluationData
from endcap.evaluation.datasets import Links
from endcap.evaluation.headline import rare_items
from endcap.evaluation.ragged import Ragged
from endcap.evaluation.text_matches import TextMatches
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Task
from endcap.sdk.vocabulary import UNKNOWN, Vocabulary


OTHERS = 100
"""The number of other items among which ``rank`` puts the targets of a case."""


def by_links(data_set: Links, task: Task) -> EvaluationData:
    """Train on all events, and ask for each item that links to others.

    Raises:
        InvalidInput: The data set has no links for the task.
    """
    if task not in data_set.targets:
        known = " and ".join(data_set.targets)
        raise InvalidInput(f"{data_set.name} has links for {known} only, not for {task}: name another --task")
    targets = data_set.targets[task]
    asking = np.flatnonzero(targets.lengths)
    eligible = np.ones(len(data_set.items.ids), np.bool_)
    wanted = targets.take(asking)
    return EvaluationData(
        name=data_set.name,
        protocol=f"links, {task}, trained on all events",
        items=data_set.items,
        events=data_set.events,
        as_of=int(data_set.events.times[-1]) + 1,
        groups=(
            Cases(
                name="all",
                histories=CaseHistories.none(len(asking)),
                targets=wanted,
                eligible=eligible,
                slices={"cold_items": rare_items(data_set.events, eligible)[wanted.flat]},
                task=task,
                items=Ragged(asking.astype(np.int32), np.arange(len(asking) + 1)),
            ),
        ),
        seen_types=frozenset(),
    )


def by_judgements(data: EvaluationData, path: Path) -> EvaluationData:
    """Replace the cases by searches, whose relevant items a file names.

    The file is a CSV with the columns ``query`` and ``item``, and ``grade`` where some items are more
    relevant than others; a grade of 0 is not relevant. The items that match a text are those that share a
    word with it, by BM25: what the server's own index would find may differ.

    Raises:
        InvalidInput: The file is missing or lacks a column, or names no item that the data hold.
    """
    import polars as pl

    table = read_table(path, ("query", "item"))
    grade = pl.col("grade").cast(pl.Float64, strict=False) if "grade" in table.columns else pl.lit(1.0)
    table = table.with_columns(
        grade=grade, row=pl.Series(Vocabulary(data.items.ids).rows(table["item"].to_list()))
    )
    table = table.filter((pl.col("grade") > 0) & (pl.col("row") != UNKNOWN)).unique(
        ["query", "row"], keep="first", maintain_order=True
    )
    if table.is_empty():
        raise InvalidInput(f"{path} names no item of {data.name}: write item ids as the data hold them")
    queries = table.group_by("query", maintain_order=True).agg("row", "grade")
    texts = queries["query"].to_list()
    candidates, relevance = TextMatches(data.items).of(texts)
    cases = Cases(
        name="all",
        histories=CaseHistories.none(len(texts)),
        targets=Ragged.of(queries["row"].to_list()),
        eligible=np.ones(len(data.items.ids), np.bool_),
        task=Task.SEARCH,
        candidates=candidates,
        relevance=relevance,
        texts=texts,
        grades=queries["grade"].explode().to_numpy(),
    )
    return replace(data, protocol=f"search, matches by BM25, {data.protocol}", groups=(cases,))


def among_others(data: EvaluationData, *, seed: int = 0) -> EvaluationData:
    """Let every case rank its targets among other items that are drawn at random, as the task ``rank`` asks.

    Figures of such rankings say nothing about rankings of the whole catalog.
    """
    generator = np.random.default_rng(seed)
    groups = []
    for cases in data.groups:
        drawn = []
        for case in range(len(cases)):
            query = cases.query(case, limit=0, time=data.as_of, seen_types=data.seen_types)
            free = cases.eligible.copy()
            free[query.eligible.excluded] = False
            free[cases.targets[case]] = False
            others = np.flatnonzero(free)
            chosen = generator.choice(others, min(OTHERS, len(others)), replace=False)
            drawn.append(np.sort(np.concatenate([cases.targets[case], chosen])))
        groups.append(replace(cases, task=Task.RANK, candidates=Ragged.of(drawn)))
    return replace(data, protocol=f"targets among {OTHERS} others, {data.protocol}", groups=tuple(groups))

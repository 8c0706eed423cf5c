"""Reads sequences and sessions: ordered choices without times."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.datasets import Sequences, Sessions, anonymous_items, require_columns
from endcap.evaluation.ragged import Ragged, offsets_of
from endcap.sdk.errors import InvalidInput
from endcap.sdk.vocabulary import Rows


def read_sequences(path: Path, generator: np.random.Generator) -> Sequences:
    """Read lines of ``user item item …`` or ``user item``, in time order.

    Titles and the column ``short_text``, as description, come from ``items.tsv`` beside it, and labels from
    ``item_attributes.json``, a list of ids by item, where these are there.
    """
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
        lines = [line.split() for line in stream]
    try:
        numbers = np.array([number for line in lines for number in line], np.int64)
    except ValueError:
        raise InvalidInput(
            f"{path} must hold whole numbers only: 'user item item …' or 'user item'"
        ) from None
    lengths = np.array([len(line) for line in lines], np.int64)
    if not len(lengths) or lengths.min() < 2:
        raise InvalidInput(f"every line of {path} needs a user and at least one item, and one line at least")
    first = offsets_of(lengths)[:-1]
    owners = np.repeat(numbers[first], lengths - 1)
    chosen = np.delete(numbers, first)
    by_user = np.argsort(owners, kind="stable")
    _, counts = np.unique(owners, return_counts=True)

    numbers_of_items, rows = np.unique(chosen[by_user], return_inverse=True)
    place = generator.permutation(len(numbers_of_items))
    sequences = Ragged(place[rows].astype(np.int32), offsets_of(counts))
    texts = _texts(path.parent / "items.tsv")
    labels = _labels(path.parent / "item_attributes.json")
    in_order = numbers_of_items[np.argsort(place)].tolist()
    return Sequences(
        name=path.parent.name,
        items=replace(
            anonymous_items([texts.get(number, ("", ""))[0] for number in in_order]),
            descriptions=[texts.get(number, ("", ""))[1] for number in in_order],
            attributes=[{"attribute": labels[number]} if number in labels else {} for number in in_order],
        ),
        sequences=sequences.take(generator.permutation(len(sequences))),
    )


def _texts(path: Path) -> dict[int, tuple[str, str]]:
    """Read title and short text by item number from a table with a header; its first column is the number."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        table = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(table, [])
        if "title" not in header:
            raise InvalidInput(f"{path} needs a column 'title': name it in the first line")
        title, short = header.index("title"), header.index("short_text") if "short_text" in header else None
        return {int(line[0]): (line[title], "" if short is None else line[short]) for line in table}


def _labels(path: Path) -> dict[int, list[str]]:
    """Read the ids of the attributes of each item, each id once."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {int(item): sorted({str(each) for each in ids}) for item, ids in found.items()}
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"{path} must hold a JSON object of lists of ids by item number") from None


def read_sessions(folder: Path, generator: np.random.Generator) -> Sessions:
    """Read ``train_sessions.parquet``, oldest session first, and ``test.parquet``."""
    import polars as pl

    test_path = folder / "test.parquet"
    if not test_path.is_file():
        raise InvalidInput(
            f"{folder} has train_sessions.parquet but no test.parquet: add one with prefixes and targets"
        )
    train, test = pl.read_parquet(folder / "train_sessions.parquet"), pl.read_parquet(test_path)
    require_columns(folder / "train_sessions.parquet", train, ("session",))
    require_columns(test_path, test, ("prefix", "target"))
    parts = [train["session"].explode(), test["prefix"].explode(), test["target"]]
    numbers, positions = np.unique(np.concatenate([part.to_numpy() for part in parts]), return_inverse=True)
    rows: Rows = generator.permutation(len(numbers)).astype(np.int32)[positions]
    sessions, prefix_rows, targets = np.split(rows, np.cumsum([len(part) for part in parts[:2]]))
    trained = Ragged(sessions, offsets_of(train["session"].list.len().to_numpy()))
    prefixes = Ragged(prefix_rows, offsets_of(test["prefix"].list.len().to_numpy()))
    order = generator.permutation(len(trained))
    return Sessions(
        name=folder.name,
        items=anonymous_items([""] * len(numbers)),
        sessions=trained.take(order),
        ages=len(trained) - 1 - order,
        prefixes=prefixes,
        targets=targets,
        owners=sessions_of_prefixes(prefixes, targets),
    )


def sessions_of_prefixes(prefixes: Ragged, targets: Rows) -> NDArray[np.int64]:
    """Return a number for each prefix, equal for neighbours that are prefixes of one session.

    Files hold the prefixes of a session one after the other, all from the longest to the shortest or all from
    the shortest to the longest: each is its neighbour with the neighbour's target.
    """
    whole = [
        [*prefix.tolist(), target]
        for prefix, target in zip(
            map(prefixes.__getitem__, range(len(prefixes))), targets.tolist(), strict=True
        )
    ]
    parts = [each[:-1] for each in whole]
    shrinking = np.array([part == after for part, after in zip(parts, whole[1:], strict=False)], np.bool_)
    growing = np.array([each == after for each, after in zip(whole, parts[1:], strict=False)], np.bool_)
    same = shrinking if shrinking.sum() >= growing.sum() else growing
    return np.concatenate([[0], np.cumsum(~same)])[: len(prefixes)].astype(np.int64)

"""Data sets read from files written here."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from endcap.evaluation.datasets import DataSet, Log, Sequences, Sessions
from endcap.evaluation.metrics import accuracy, ranks_by_score
from endcap.evaluation.ragged import Ragged
from endcap.evaluation.readers import read_data_set
from endcap.evaluation.splits import read_evaluation_data
from endcap.sdk import Rows
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import conform, event_schema, item_schema, user_schema, write_snapshot


def titled(data: DataSet, rows: Rows) -> str:
    return "".join(data.items.titles[row] for row in rows)


def as_words(data: DataSet, lists: Ragged) -> list[str]:
    return sorted(titled(data, lists[index]) for index in range(len(lists)))


def write_titles(folder: Path) -> None:
    folder.joinpath("items.tsv").write_text("item\ttitle\n10\ta\n20\tb\n30\tc\n40\td\n", encoding="utf-8")


def test_lines_of_a_user_and_all_items_are_read(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 10 20 30\n2 40 20\n", encoding="utf-8")
    write_titles(tmp_path)

    data = read_data_set(tmp_path)

    assert isinstance(data, Sequences)
    assert as_words(data, data.sequences) == ["abc", "db"]
    assert sorted(data.items.titles) == ["a", "b", "c", "d"]


def test_lines_of_a_user_and_one_item_are_read_even_when_users_mix(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "sequences.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("1 10\n2 40\n1 20\n2 20\n1 30\n")
    write_titles(tmp_path)

    data = read_data_set(tmp_path)

    assert isinstance(data, Sequences)
    assert as_words(data, data.sequences) == ["abc", "db"]


def test_texts_and_attributes_beside_sequences_describe_their_items(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 10 20\n", encoding="utf-8")
    tmp_path.joinpath("items.tsv").write_text(
        "id\tshort_text\ttitle\n10\tred mug\tMug\n20\tgreen tea\tTea\n", encoding="utf-8"
    )
    tmp_path.joinpath("item_attributes.json").write_text('{"10": [7, 3, 7]}', encoding="utf-8")

    items = read_data_set(tmp_path).items

    described = zip(items.titles, items.descriptions, items.attributes, strict=True)
    assert sorted(described, key=lambda item: item[0]) == [
        ("Mug", "red mug", {"attribute": ["3", "7"]}),
        ("Tea", "green tea", {}),
    ]


def test_attributes_that_are_no_lists_by_item_are_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 10 20\n", encoding="utf-8")
    tmp_path.joinpath("item_attributes.json").write_text("[1]", encoding="utf-8")

    with pytest.raises(InvalidInput, match="lists of ids by item number"):
        read_data_set(tmp_path)


def test_a_file_without_titles_has_empty_ones(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 10 20\n", encoding="utf-8")

    assert read_data_set(tmp_path).items.titles == ["", ""]


def test_sessions_and_prefixes_are_read(tmp_path: Path) -> None:
    pl.DataFrame({"session": [[1, 2], [3, 1, 1]]}).write_parquet(tmp_path / "train_sessions.parquet")
    pl.DataFrame({"prefix": [[3], [3, 4]], "target": [4, 5]}).write_parquet(tmp_path / "test.parquet")

    data = read_data_set(tmp_path)

    assert isinstance(data, Sessions)
    assert sorted(data.sessions.lengths.tolist()) == [2, 3]
    assert data.prefixes.lengths.tolist() == [1, 2]
    assert len(data.items.ids) == 5
    assert data.prefixes[1][1] == data.targets[0]
    assert data.prefixes[0][0] == data.prefixes[1][0]


def test_invoice_lines_are_cleaned(tmp_path: Path) -> None:
    write_invoices(
        tmp_path,
        ("1", "10001", "KETTLE", 2, "2020-01-02", 3.0, 7),
        ("1", "10002A", "MUG", 1, "2020-01-01", 1.0, 7),
        ("2", "10001", "RED KETTLE", 1, "2020-01-03", 3.5, 8),
        ("C3", "10001", "KETTLE", 1, "2020-01-03", 3.5, 8),
        ("4", "10001", "KETTLE", -1, "2020-01-03", 3.5, 8),
        ("5", "10001", "KETTLE", 1, "2020-01-03", 0.0, 8),
        ("6", "POST", "POSTAGE", 1, "2020-01-03", 3.5, 8),
        ("7", "10001", "RED KETTLE", 1, "2020-01-03", 3.5, None),
    )

    data = read_data_set(tmp_path)

    assert isinstance(data, Log)
    assert [data.items.ids[row] for row in data.events.rows] == ["10002A", "10001", "10001"]
    assert dict(zip(data.items.ids, data.items.titles, strict=True)) == {
        "10001": "RED KETTLE",
        "10002A": "MUG",
    }
    assert data.events.users[0] == data.events.users[1] != data.events.users[2]
    assert np.diff(data.events.times).tolist() == [86_400_000, 86_400_000]


def test_a_snapshot_is_read(tmp_path: Path) -> None:
    items = pl.DataFrame(
        {
            "item_id": ["mug", "tea"],
            "title": ["Mug", "Tea"],
            "price": [1.5, None],
            "available": [True, False],
            "created_time": [5, 6],
        }
    )
    events = pl.DataFrame(
        [("u", "tea", "view", 10), ("v", "mug", "purchase", 11), ("u", None, "search", 12)],
        schema=["user", "item_id", "type", "time"],
        orient="row",
    )
    write_snapshot(
        tmp_path / "shop",
        items=conform(items, item_schema()),
        users=conform(pl.DataFrame({"user": ["u", "v"], "created_time": [1, 2]}), user_schema()),
        events=conform(events, event_schema()),
        shop="tiny",
        as_of=20,
    )

    data = read_data_set(tmp_path / "shop")

    assert isinstance(data, Log)
    assert data.name == "tiny"
    assert [data.items.ids[row] for row in data.events.rows] == ["tea", "mug"]
    assert data.events.types.tolist() == ["view", "purchase"]
    assert sorted(data.items.titles) == ["Mug", "Tea"]
    assert data.events.users[0] != data.events.users[1]


def test_a_folder_of_another_kind_is_rejected_with_the_formats_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"sequences\.txt"):
        read_data_set(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere is not a folder"):
        read_data_set(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 a b\n", "whole numbers"), ("1\n", "at least one item"), ("", "one line at least")],
)
def test_a_damaged_sequence_file_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    tmp_path.joinpath("sequences.txt").write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput, match=message):
        read_data_set(tmp_path)


def test_sessions_without_a_test_file_are_rejected(tmp_path: Path) -> None:
    pl.DataFrame({"session": [[1, 2]]}).write_parquet(tmp_path / "train_sessions.parquet")

    with pytest.raises(InvalidInput, match=r"no test\.parquet"):
        read_data_set(tmp_path)


def test_a_table_without_the_columns_of_invoices_is_rejected(tmp_path: Path) -> None:
    pl.DataFrame({"Invoice": ["1"]}).write_parquet(tmp_path / "table.parquet")

    with pytest.raises(InvalidInput, match="lacks the columns StockCode"):
        read_data_set(tmp_path)


def test_a_seed_fixes_the_permutation(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 10 20 30 40\n2 40 20 50 60\n", encoding="utf-8")

    first, same, other = (read_evaluation_data(tmp_path, seed=seed).events.rows for seed in (1, 1, 2))

    assert first.tolist() == same.tolist()
    assert first.tolist() != other.tolist()


def test_numbers_by_first_appearance_give_nothing_away(tmp_path: Path) -> None:
    # In the file every next item has the next number: whoever ranks by distance of numbers is always right.
    lines = [" ".join(map(str, [user, *range(user * 5, user * 5 + 5)])) for user in range(1, 401)]
    tmp_path.joinpath("sequences.txt").write_text("\n".join(lines), encoding="utf-8")
    in_file = Ragged.of([range(user * 5, user * 5 + 5) for user in range(400)])

    data = read_evaluation_data(tmp_path)

    read = data.groups[0]
    newest = read.histories.events.rows[read.histories.offsets[1:] - 1]
    assert hit_rate_by_distance(in_file.flat[3::5], in_file.flat[4::5], 2000) == 1
    chance = 10 / 2000
    assert hit_rate_by_distance(newest, read.targets.flat, 2000) < chance + 3 * np.sqrt(chance / 400)


def hit_rate_by_distance(newest: Rows, targets: Rows, item_count: int) -> float:
    distances = np.abs(np.arange(item_count) - newest[:, None]).astype(np.float32)
    lists = Ragged.of([[target] for target in targets])
    return float(accuracy(ranks_by_score(-distances, lists), lists, (10,))["hit@10"].mean())


def write_invoices(folder: Path, *lines: Sequence[Any]) -> None:
    columns = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID")
    table = pl.DataFrame(lines, schema=columns, orient="row")
    table.with_columns(pl.col("InvoiceDate").str.to_datetime()).write_parquet(folder / "invoices.parquet")

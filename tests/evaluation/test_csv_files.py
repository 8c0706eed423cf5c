"""Events and links read from CSV files written here."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from endcap.evaluation.datasets import Links, Log
from endcap.evaluation.readers import read_data_set
from endcap.sdk.errors import InvalidInput
from endcap.sdk.query import Task


def events_of(log: Log | Links) -> list[tuple[str, str, int]]:
    events = log.events
    return [
        (log.items.ids[row], kind, time)
        for row, kind, time in zip(
            events.rows.tolist(), events.types.tolist(), events.times.tolist(), strict=True
        )
    ]


def test_a_file_of_events_is_read_as_an_import_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "user_id,item_id,type,time\nann,tea,view,2020-01-01T00:00:01Z\nbob,mug,purchase,1577836800000\n",
        encoding="utf-8",
    )

    log = read_data_set(path)

    assert isinstance(log, Log)
    assert events_of(log) == [("mug", "purchase", 1_577_836_800_000), ("tea", "view", 1_577_836_801_000)]
    assert log.events.users[0] != log.events.users[1]


def test_ratings_and_quantities_of_a_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "user,item,type,time,quantity,value\n"
        "ann,tea,purchase,1577836800,3,9.5\nann,mug,rating,1577836801,,4\nann,pot,view,1577836802,,\n",
        encoding="utf-8",
    )

    log = read_data_set(path)

    assert isinstance(log, Log)
    np.testing.assert_array_equal(log.events.values, [3, 4, np.nan])


def test_a_folder_may_hold_one_csv_file_and_its_items(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "log.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write("user,item,time\n1,10,1577836800\n2,20,1577836801\n")
    tmp_path.joinpath("items.csv").write_text(
        "item_id,title,categories,price,created_time\n10,Mug,cups|kitchen,2.5,2019-01-01\n30,Pot,,,\n",
        encoding="utf-8",
    )

    log = read_data_set(tmp_path)

    assert isinstance(log, Log)
    assert events_of(log) == [
        ("10", "purchase", 1_577_836_800_000),
        ("20", "purchase", 1_577_836_801_000),
    ]
    items = zip(log.items.ids, log.items.titles, log.items.categories, log.items.created, strict=True)
    assert sorted((each, title, list(names), int(created)) for each, title, names, created in items) == [
        ("10", "Mug", ["cups", "kitchen"], 1_546_300_800_000),
        ("20", "", [], 0),
        ("30", "Pot", [], 0),
    ]


def test_a_visitor_stands_for_an_event_without_a_user(tmp_path: Path) -> None:
    tmp_path.joinpath("events.csv").write_text(
        "user_id,visitor_id,item_id,time\nann,v1,a,2020-01-01\n,v2,b,2020-01-02\n", encoding="utf-8"
    )

    log = read_data_set(tmp_path)

    assert isinstance(log, Log)
    assert len(set(log.events.users.tolist())) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n1,10\n", "lacks the columns time"),
        ("who,item,time\n1,10,5\n", "lacks the columns user_id or user or visitor_id"),
        ("user,item,time\n1,10,monday\n", "times that cannot be read"),
    ],
)
def test_a_file_that_holds_no_events_is_refused(tmp_path: Path, text: str, message: str) -> None:
    tmp_path.joinpath("events.csv").write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput, match=message):
        read_data_set(tmp_path)


def linked(data: Links, task: Task) -> dict[str, list[str]]:
    ids = data.items.ids
    return {
        ids[row]: sorted(ids[each] for each in data.targets[task][row])
        for row in range(len(ids))
        if len(data.targets[task][row])
    }


def test_links_are_read_by_relation(tmp_path: Path) -> None:
    tmp_path.joinpath("train.csv").write_text("user,item,time\n1,a,5\n1,b,6\n", encoding="utf-8")
    tmp_path.joinpath("links.csv").write_text(
        "item,target,relation\na,b,complement\na,c,complement\na,a,complement\nb,c,substitute\na,b,complement\n",
        encoding="utf-8",
    )

    data = read_data_set(tmp_path)

    assert isinstance(data, Links)
    assert linked(data, Task.RELATED) == {"a": ["b", "c"]}
    assert linked(data, Task.SIMILAR) == {"b": ["c"]}
    assert sorted(data.items.ids) == ["a", "b", "c"]


def test_lists_of_links_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "train.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write("user_id\titem_id\ttime\n1\t1\t965779200\n")
    with gzip.open(tmp_path / "item_meta.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write("item_id\ti_category\tr_complement\tr_substitute\n1\t0\t[2, 3]\t[]\n2\t0\t[]\t[1]\n")

    data = read_data_set(tmp_path)

    assert isinstance(data, Links)
    assert linked(data, Task.RELATED) == {"1": ["2", "3"]}
    assert linked(data, Task.SIMILAR) == {"2": ["1"]}


def test_a_folder_of_links_that_lacks_a_file_is_told_which(tmp_path: Path) -> None:
    tmp_path.joinpath("train.csv").write_text("user,item,time\n1,a,5\n", encoding="utf-8")
    tmp_path.joinpath("other.csv").write_text("x\n1\n", encoding="utf-8")

    with pytest.raises(InvalidInput, match=r"links need train.csv, and links.csv or item_meta.csv"):
        read_data_set(tmp_path)

"""Splits of tiny data sets, counted by hand, and of the shop that ships with the demo."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from endcap.evaluation.data import Cases, EvaluationData, HeldOut, TuningData
from endcap.evaluation.headline import UNDATED
from endcap.evaluation.ragged import Ragged
from endcap.evaluation.sequence_files import sessions_of_prefixes
from endcap.evaluation.settings import Setting
from endcap.evaluation.splits import read_evaluation_data, read_tuning_data
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import Snapshot


FEBRUARY = datetime(2020, 2, 1, tzinfo=UTC)
MARCH = datetime(2020, 3, 1, tzinfo=UTC)
DEMO_DATA = Path(__file__).parents[2] / "server/endcap/demo/data"


@pytest.fixture
def three_sequences(tmp_path: Path) -> Path:
    """Users choose abcde, badc and ab; the letters are titles."""
    tmp_path.joinpath("sequences.txt").write_text("1 1 2 3 4 5\n2 2 1 4 3\n3 1 2\n", encoding="utf-8")
    titles = "".join(f"{number}\t{letter}\n" for number, letter in enumerate("abcde", 1))
    tmp_path.joinpath("items.tsv").write_text("item\ttitle\n" + titles, encoding="utf-8")
    return tmp_path


def fitted_words(data: HeldOut) -> list[str]:
    users = np.unique(data.events.users)
    return sorted(word(data, data.events.rows[data.events.users == user]) for user in users)


def questions(cases: Cases, data: HeldOut) -> list[tuple[str, str]]:
    return sorted(
        (word(data, cases.histories[case].rows), word(data, np.sort(cases.targets[case])))
        for case in range(len(cases))
    )


def word(data: HeldOut, rows: NDArray[np.integer]) -> str:
    return "".join(data.items.titles[row] for row in rows)


@pytest.mark.parametrize(
    ("setting", "fitted", "asked"),
    [
        (Setting.STRICT, ["ab", "abc", "ba"], [("abcd", "e"), ("bad", "c")]),
        (Setting.REFIT, ["ab", "abcd", "bad"], [("abcd", "e"), ("bad", "c")]),
    ],
)
def test_one_item_is_left_out(
    three_sequences: Path, setting: Setting, fitted: list[str], asked: list[tuple[str, str]]
) -> None:
    data = read_evaluation_data(three_sequences, setting=setting)

    assert fitted_words(data) == fitted
    assert questions(data.groups[0], data) == asked
    assert data.groups[0].eligible.all()


def test_tuning_holds_out_the_last_item_but_one(three_sequences: Path) -> None:
    data = read_tuning_data(three_sequences)

    assert fitted_words(data) == ["ab", "abc", "ba"]
    assert questions(data.groups[0], data) == [("abc", "d"), ("ba", "d")]


def test_no_test_item_reaches_tuning(three_sequences: Path) -> None:
    """Were other items chosen last, tuning would be the same."""
    before = read_tuning_data(three_sequences)
    three_sequences.joinpath("sequences.txt").write_text("1 1 2 3 4 3\n2 2 1 4 5\n3 1 2\n", encoding="utf-8")
    after = read_tuning_data(three_sequences)

    assert isinstance(before, TuningData)
    assert not isinstance(before, EvaluationData)
    assert fitted_words(before) == fitted_words(after)
    assert questions(before.groups[0], before) == questions(after.groups[0], after)


def test_events_without_times_keep_their_order_before_the_question(three_sequences: Path) -> None:
    data = read_evaluation_data(three_sequences, setting=Setting.REFIT)

    assert data.as_of == UNDATED
    assert (np.diff(data.events.times) >= 0).all()
    assert data.events.times.max() < UNDATED
    assert data.events.times.min() > UNDATED - 86_400_000


def test_sequences_too_short_to_judge_are_rejected(tmp_path: Path) -> None:
    tmp_path.joinpath("sequences.txt").write_text("1 1 2\n", encoding="utf-8")

    with pytest.raises(InvalidInput, match="at least three items"):
        read_evaluation_data(tmp_path)


def test_the_next_item_of_a_session_is_asked_and_nothing_is_masked(tmp_path: Path) -> None:
    pl.DataFrame({"session": [[1, 2], [3, 1, 1]]}).write_parquet(tmp_path / "train_sessions.parquet")
    pl.DataFrame({"prefix": [[3, 1], [3]], "target": [3, 1]}).write_parquet(tmp_path / "test.parquet")

    data = read_evaluation_data(tmp_path)

    cases = data.groups[0]
    assert len(data.events.rows) == 5
    assert data.seen_types == frozenset()
    assert cases.histories[0].rows[0] == cases.targets[0][0]
    assert cases.histories[0].types.tolist() == ["view", "view"]
    assert np.diff(cases.histories[0].times).tolist() == [1]


def test_tuning_on_sessions_holds_out_the_newest_of_those_to_train_on(tmp_path: Path) -> None:
    """Of twenty sessions the last two are held out: 5 6 7 asks for 6 and 7, and 8 8 for 8."""
    sessions = [[1, 2]] * 18 + [[5, 6, 7], [8, 8]]
    pl.DataFrame({"session": sessions}).write_parquet(tmp_path / "train_sessions.parquet")
    pl.DataFrame({"prefix": [[3]], "target": [4]}).write_parquet(tmp_path / "test.parquet")

    data = read_tuning_data(tmp_path)

    cases = data.groups[0]
    assert len(data.events.rows) == 36
    asked = [(len(cases.histories[case]), len(cases.targets[case])) for case in range(len(cases))]
    assert sorted(asked) == [(1, 1), (1, 1), (2, 1)]
    assert cases.clusters is not None
    assert sorted(np.unique(cases.clusters, return_counts=True)[1].tolist()) == [1, 2]
    test = read_evaluation_data(tmp_path).groups[0]
    held = set(cases.histories.events.rows.tolist()) | set(cases.targets.flat.tolist())
    assert not held & {*test.histories.events.rows.tolist(), *test.targets.flat.tolist()}


def test_strict_is_for_sequences_only(tmp_path: Path) -> None:
    pl.DataFrame({"session": [[1, 2], [3, 1, 1]]}).write_parquet(tmp_path / "train_sessions.parquet")
    pl.DataFrame({"prefix": [[3, 1], [3]], "target": [3, 1]}).write_parquet(tmp_path / "test.parquet")

    with pytest.raises(InvalidInput, match="has no setting 'strict'"):
        read_evaluation_data(tmp_path, setting=Setting.STRICT)


@pytest.mark.parametrize("order", [1, -1])
def test_prefixes_of_one_session_belong_together(order: int) -> None:
    """The sessions are abc, abd, xy and xy again."""
    prefixes, targets = [[1], [1, 2], [1], [1, 2], [8], [8]], [2, 3, 2, 4, 9, 9]

    owners = sessions_of_prefixes(Ragged.of(prefixes[::order]), np.array(targets[::order], np.int32))

    assert owners[::order].tolist() in ([0, 0, 1, 1, 2, 3], [3, 3, 2, 2, 1, 0])


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """Ann, Bob and Dan buy in January, Ann, Bob and Cid in February, Eve in March."""
    bought = [
        ("a", 1, 5, "Ann"),
        ("b", 1, 9, "Ann"),
        ("a", 1, 9, "Bob"),
        ("c", 1, 9, "Dan"),
        ("b", 2, 1, "Ann"),
        ("c", 2, 2, "Ann"),
        ("b", 2, 3, "Bob"),
        ("c", 2, 3, "Bob"),
        ("d", 2, 4, "Bob"),
        ("a", 2, 5, "Cid"),
        ("d", 2, 5, "Cid"),
        ("e", 3, 1, "Eve"),
    ]
    lines = [
        ("1", f"1000{ord(letter)}", letter, 1, f"2020-0{month}-0{day}", 1.0, ord(user[0]))
        for letter, month, day, user in bought
    ]
    columns = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID")
    table = pl.DataFrame(lines, schema=columns, orient="row")
    table.with_columns(pl.col("InvoiceDate").str.to_datetime()).write_parquet(tmp_path / "invoices.parquet")
    return tmp_path


def test_known_customers_are_judged_on_their_first_purchases_of_known_items(small_shop: Path) -> None:
    data = read_evaluation_data(small_shop, cutoff=FEBRUARY, until=MARCH)

    asked = [(history, "".join(sorted(targets))) for history, targets in questions(data.groups[0], data)]
    assert fitted_words(data) == ["a", "ab", "c"]
    assert asked == [("a", "bc"), ("ab", "c")]
    assert sorted(word(data, np.flatnonzero(data.groups[0].eligible))) == ["a", "b", "c"]
    assert data.as_of == 1_580_515_200_000


def test_new_customers_and_new_items_are_groups_of_their_own(small_shop: Path) -> None:
    data = read_evaluation_data(small_shop, cutoff=FEBRUARY, until=MARCH)

    _, new_users, new_items = data.groups
    assert (new_users.name, questions(new_users, data)) == ("new_users", [("", "a")])
    assert (new_items.name, questions(new_items, data)) == ("new_items", [("a", "d")])
    assert sorted(word(data, np.flatnonzero(new_users.eligible))) == ["a", "b", "c"]
    assert sorted(word(data, np.flatnonzero(new_items.eligible))) == ["a", "b", "c", "d"]


def test_an_item_that_only_strangers_bought_is_a_candidate_among_new_items(small_shop: Path) -> None:
    table = pl.read_parquet(small_shop / "invoices.parquet")
    february = datetime(2020, 2, 20)  # noqa: DTZ001
    stranger = table.head(1).with_columns(
        StockCode=pl.lit("20001"), Description=pl.lit("f"), InvoiceDate=february, **{"Customer ID": None}
    )
    pl.concat([table, stranger.cast(table.schema)]).write_parquet(small_shop / "invoices.parquet")

    data = read_evaluation_data(small_shop, cutoff=FEBRUARY, until=MARCH)

    known, _, new_items = data.groups
    assert sorted(word(data, np.flatnonzero(known.eligible))) == ["a", "b", "c"]
    assert sorted(word(data, np.flatnonzero(new_items.eligible))) == ["a", "b", "c", "d", "f"]


def test_items_are_described_as_of_the_cutoff(small_shop: Path) -> None:
    """From February on, a has another title and price; d has two in February, e its first in March."""
    table = pl.read_parquet(small_shop / "invoices.parquet")
    later = pl.col("InvoiceDate") >= datetime(2020, 2, 5)  # noqa: DTZ001
    table.with_columns(
        Description=pl.when(later).then(pl.col("Description").str.to_uppercase()).otherwise("Description"),
        Price=pl.when(later).then(2.0).otherwise("Price"),
    ).write_parquet(small_shop / "invoices.parquet")

    data = read_evaluation_data(small_shop, cutoff=FEBRUARY, until=MARCH)

    assert sorted(zip(data.items.titles, data.items.prices.tolist(), strict=True)) == [
        ("E", 2.0), ("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0),
    ]  # fmt: skip


def test_tuning_on_a_log_ends_at_the_cutoff(small_shop: Path) -> None:
    """Thirty days before 1 March is 31 January; what is bought from March on has no part in it."""
    data = read_tuning_data(small_shop, cutoff=MARCH)

    asked = [(history, "".join(sorted(targets))) for history, targets in questions(data.groups[0], data)]
    assert isinstance(data, TuningData)
    assert asked == [("a", "bc"), ("ab", "c")]
    assert data.events.times.max() < data.as_of == 1_583_020_800_000 - 30 * 86_400_000


def test_without_dates_the_last_thirty_days_are_judged(small_shop: Path) -> None:
    data = read_evaluation_data(small_shop)

    # The last event is of 1 March, one millisecond before the end.
    assert data.as_of == 1_583_020_800_001 - 30 * 86_400_000
    asked = [(history, "".join(sorted(targets))) for history, targets in questions(data.groups[0], data)]
    assert asked == [("a", "bc"), ("ab", "c")]


def test_a_window_without_anything_to_judge_is_rejected(small_shop: Path) -> None:
    with pytest.raises(InvalidInput, match="choose a cutoff"):
        read_evaluation_data(small_shop, cutoff=datetime(2019, 1, 1, tzinfo=UTC), until=MARCH)


def test_cold_slices_are_the_quarter_with_the_least(tmp_path: Path) -> None:
    # Histories have 2, 3, 3 and 4 items; items 1 and 2 are fitted three times, 3 twice, 8 and 9 never.
    text = "1 1 9 8\n2 1 2 9 8\n3 2 3 8 1\n4 1 2 3 8 9\n"
    tmp_path.joinpath("sequences.txt").write_text(text, encoding="utf-8")

    data = read_evaluation_data(tmp_path)

    cases = data.groups[0]
    assert np.diff(cases.histories.offsets)[cases.slices["cold_users"]].tolist() == [2]
    assert np.count_nonzero(cases.slices["cold_items"]) == 3


def test_what_may_be_fitted_on_becomes_a_snapshot(small_shop: Path, tmp_path: Path) -> None:
    data = read_evaluation_data(small_shop, cutoff=FEBRUARY, until=MARCH)

    data.snapshot(tmp_path / "snapshot")

    snapshot = Snapshot.open(tmp_path / "snapshot")
    events = snapshot.events()
    titles = dict(snapshot.items().select("item_id", "title").iter_rows())
    assert [titles[item_id] for item_id in events["item_id"]] == ["a", "b", "a", "c"]
    assert snapshot.items()["item_id"].to_list() == list(data.items.ids) == list(data.view().vocabulary.ids)
    assert snapshot.users().height == 3
    assert snapshot.manifest.as_of == data.as_of


@pytest.mark.skipif(not list(DEMO_DATA.glob("*.parquet")), reason="the demo's data are not installed")
def test_the_shop_is_split_as_published() -> None:
    data = read_evaluation_data(DEMO_DATA, cutoff=datetime(2010, 11, 1, tzinfo=UTC))

    known, new_users, new_items = data.groups
    assert (len(data.events.rows), len(np.unique(data.events.users))) == (331_726, 3_913)
    # Known customers bought some of 67 new products; strangers bought others, which are candidates too.
    assert known.eligible.sum() == 3_939
    assert len(np.unique(new_items.targets.flat)) <= 67 < new_items.eligible.sum() - known.eligible.sum()
    assert (len(known), len(new_users)) == (1_365, 372)
    assert known.targets.lengths.mean() == pytest.approx(22.274, abs=0.001)

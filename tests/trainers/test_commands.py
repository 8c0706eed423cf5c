import json
import sys
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from endcap.evaluation import read_evaluation_data
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.snapshot import (
    TABLES,
    Snapshot,
    conform,
    event_schema,
    item_schema,
    snapshot_writer,
    user_schema,
    write_snapshot,
)
from endcap.trainers import commands
from endcap.trainers.commands import progress_lines, read_values
from endcap.trainers.comparison import compare


def run(*arguments: object) -> Result:
    """Run a command as the command line would."""
    app = typer.Typer()
    app.command()(commands.train)
    app.command()(commands.evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Return a data set of eight users who go round a circle of six items."""
    folder = tmp_path / "circle"
    folder.mkdir()
    lines = [f"{user} " + " ".join(str((user + step) % 6) for step in range(5)) for user in range(8)]
    (folder / "sequences.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def snapshot(sequences: Path, tmp_path: Path) -> Snapshot:
    """Return what may be fitted on."""
    return read_evaluation_data(sequences).snapshot(tmp_path / "snapshot")


def test_evaluate_prints_a_table_and_writes_reports(sequences: Path, tmp_path: Path) -> None:
    result = run(
        "evaluate", sequences, "--strategy", "item_knn", "--metrics", "hit@5",
        "--json", tmp_path / "reports.json", "--chart", tmp_path / "chart.png",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "circle: leave one out, strict" in result.output
    reports = json.loads((tmp_path / "reports.json").read_text(encoding="utf-8"))
    assert [report["strategy"] for report in reports] == ["item_knn"]
    assert reports[0]["training_seconds"] > 0
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_shows_the_metrics_of_the_table(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("endcap.evaluation.draw", lambda *_, metrics: drawn.append(metrics))

    result = run("evaluate", sequences, "--strategy", "popular", "--metrics", "hit@5,mrr@10",
                 "--chart", tmp_path / "chart.png")  # fmt: skip

    assert result.exit_code == 0, result.output
    assert drawn == [["hit@5", "mrr@10"]]


def test_strategies_are_compared_in_pairs(sequences: Path) -> None:
    """In a circle the next item is known: item_knn finds it, popular does not."""
    result = run("evaluate", sequences, "--strategy", "popular", "--strategy", "item_knn",
                 "--metrics", "mrr@5")  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "less item_knn, the best" in result.output


def test_evaluate_reads_a_file_of_events_and_judges_another_task(tmp_path: Path) -> None:
    lines = [
        f"user {user},item {(user * 7 + step) % 20},2020-0{1 + step // 5}-0{1 + step % 5}"
        for user in range(30)
        for step in range(10)
    ]
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,time\n" + "\n".join(lines), encoding="utf-8")
    evaluate = ("evaluate", path, "--strategy", "item_knn", "--cutoff", "2020-02-03")

    ranked = run(*evaluate, "--task", "rank")
    tuned = run(*evaluate, "--setting", "validation")

    assert ranked.exit_code == 0, ranked.output
    assert "targets among 100 others, by time, trained before 2020-02-03" in ranked.output
    # The window before the cutoff begins on 4 January, when every user had bought three items.
    assert tuned.exit_code == 0, tuned.output
    assert "by time, validation, trained before 2020-01-04, tested until 2020-02-03" in tuned.output


def test_evaluate_judges_a_search_by_a_file(tmp_path: Path) -> None:
    """Each text has the title of one item alone; the strategy search ranks what matches."""
    lines = [f"{user},{item},2020-0{month}-01" for user, item, month in
             [("u", "a", 1), ("v", "b", 1), ("w", "c", 1), ("u", "b", 2)]]  # fmt: skip
    tmp_path.joinpath("events.csv").write_text("user,item,time\n" + "\n".join(lines), encoding="utf-8")
    tmp_path.joinpath("items.csv").write_text(
        "item_id,title\na,red mug\nb,blue kettle\nc,green pot\n", encoding="utf-8"
    )
    judged = tmp_path / "judged.txt"
    judged.write_text("query,item\nmug,a\nblue,b\n", encoding="utf-8")

    result = run("evaluate", tmp_path, "--task", "search", "--judged", judged, "--strategy", "search",
                 "--cutoff", "2020-02-01", "--metrics", "ndcg@5")  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "all (2 cases)" in result.output
    assert "1.0000 [1.0000, 1.0000]" in result.output


def test_a_strategy_without_a_trainer_runs_as_it_is(sequences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its trainer, popular falls back on the weights it carries."""
    monkeypatch.setattr("endcap.trainers.comparison.trainer_names", frozenset)

    reports = compare(
        read_evaluation_data(sequences),
        ["popular"],
        host=PluginHost.discover(),
        stage=lambda _name, _share, _what: None,
    )

    assert reports[0].training_seconds is None
    assert reports[0].slices["all"].cases == 8


def test_train_writes_a_bundle_and_says_where(snapshot: Snapshot, tmp_path: Path) -> None:
    result = run("train", "popular", "--snapshot", snapshot.folder, "--output", tmp_path / "bundles",
                 "--set", "popular.window_days=7")  # fmt: skip

    assert result.exit_code == 0, result.output
    # The sequences have no dates, so no window can be held out.
    assert "Not measured: " in result.output
    bundle = Bundle.open(next((tmp_path / "bundles" / "popular").iterdir()))
    assert str(bundle.folder) in result.output
    assert bundle.manifest.parameters == {"window_days": 7.0, "half_life_days": 0.0, "choose": False}


@pytest.fixture
def dated(tmp_path: Path) -> Snapshot:
    """Return a snapshot of 40 customers who go round 20 items over 60 days, one step in six days."""
    items = [f"item-{number}" for number in range(20)]
    log = [
        (f"user-{customer}", items[(customer * 7 + day) % 20], "purchase", (day + 1) * DAY)
        for day in range(0, 60, 6)
        for customer in range(40)
    ]
    events = pl.DataFrame(log, schema=["user", "item_id", "type", "time"], orient="row")
    users = pl.DataFrame({"user": [f"user-{number}" for number in range(40)]})
    return write_snapshot(
        tmp_path / "dated",
        items=conform(pl.DataFrame({"item_id": items, "created_time": 0, "available": True}), item_schema()),
        users=conform(users, user_schema()),
        events=conform(events, event_schema()),
        shop="circle",
        as_of=60 * DAY,
    )


def test_a_bundle_says_what_popular_and_the_one_that_serves_reach_on_the_same_days(
    dated: Snapshot, tmp_path: Path
) -> None:
    train = ("train", "item_knn", "--snapshot", dated.folder, "--output", tmp_path / "bundles")

    def bundles() -> list[Bundle]:
        return [Bundle.open(path) for path in sorted((tmp_path / "bundles" / "item_knn").glob("*"))]

    assert run(*train).exit_code == 0
    [first] = bundles()
    assert run(*train, "--against", first.folder).exit_code == 0
    result = run(*train, "--against", first.folder, "--set", "item_knn.max_neighbors=1")
    _, same, narrow = bundles()

    serving = f"item_knn@{first.manifest.version}"
    assert set(first.manifest.compared) == {"popular"}
    assert set(first.manifest.compared["popular"]) == {"recall@20", "ndcg@20", "hit@20"}
    # Equal hyperparameters and days give equal figures, though the first bundle has seen the days by now.
    assert same.manifest.compared[serving] == same.manifest.metrics == first.manifest.metrics
    # Other hyperparameters are tested beside those of the bundle that serves.
    assert narrow.manifest.compared[serving] == first.manifest.metrics
    assert narrow.manifest.metrics != first.manifest.metrics, result.output


def test_what_cannot_be_tested_beside_the_new_one_is_named(dated: Snapshot, tmp_path: Path) -> None:
    train = ("train", "popular", "--snapshot", dated.folder, "--output", tmp_path / "bundles")

    lost = run(*train, "--against", tmp_path / "lost")
    [bundle] = (tmp_path / "bundles" / "popular").iterdir()
    other = run("train", "ease", *train[2:], "--against", bundle)

    assert lost.exit_code == 0
    assert f"Not tested beside {tmp_path / 'lost'}: folder 'lost' does not exist" in lost.output
    assert other.exit_code == 1
    assert "is of popular, which is not among the strategies named" in other.output


def test_a_shop_without_events_is_told_to_record_some(dated: Snapshot, tmp_path: Path) -> None:
    with snapshot_writer(tmp_path / "empty") as writer:
        for table in TABLES:
            writer.append(table, dated.scan(table).collect().clear())
        writer.finish(shop="circle", as_of=DAY)
    snapshot = ("--snapshot", tmp_path / "empty", "--output", tmp_path / "bundles")

    trained = run("train", "popular", *snapshot)
    evaluated = run("evaluate", tmp_path / "empty", "--strategy", "popular")

    assert (trained.exit_code, evaluated.exit_code) == (1, 1)
    assert "Error: the snapshot has no events to learn from: record or import some first" in trained.output
    assert "Error: circle has no events: record or import some first" in evaluated.output


def test_train_reads_a_snapshot_from_an_object_store(snapshot: Snapshot, bucket: str, tmp_path: Path) -> None:
    with snapshot_writer(f"{bucket}/monday") as writer:
        for table in TABLES:
            writer.append(table, snapshot.scan(table).collect())
        writer.finish(shop="circle", as_of=snapshot.manifest.as_of)

    result = run("train", "popular", "--snapshot", f"{bucket}/monday", "--output", tmp_path / "bundles")
    missing = run("train", "popular", "--snapshot", f"{bucket}/sunday", "--output", tmp_path / "bundles")

    assert result.exit_code == 0, result.output
    bundle = Bundle.open(next((tmp_path / "bundles" / "popular").iterdir()))
    assert bundle.manifest.snapshot == Snapshot.open(f"{bucket}/monday").manifest.fingerprint
    assert missing.exit_code == 1
    assert missing.output == (
        f"Error: {bucket}/sunday holds no finished snapshot:"
        f" write one with 'endcap snapshot {bucket}/sunday'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nowhere", "--strategy", "popular"], "nowhere is not a folder"),
        (["evaluate", ".", "--strategy", "popular", "--setting", "loose"], "setting 'loose' does not exist"),
        (["evaluate", ".", "--strategy", "popular", "--task", "guess"], "task 'guess' does not exist"),
        (
            ["evaluate", ".", "--strategy", "popular", "--task", "rank", "--setting", "validation"],
            "the task rank has no setting 'validation'",
        ),
        (["evaluate", ".", "--strategy", "popular", "--set", "ease.x=1"], "is for ease, which is not among"),
        (["train", "popular", "--snapshot", "nowhere", "--output", "."], "nowhere holds no snapshot"),
    ],
)
def test_an_error_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == 1
    assert result.output.strip().startswith("Error: ")
    assert message in result.output


def test_what_nothing_trains_is_rejected_before_any_work(snapshot: Snapshot, tmp_path: Path) -> None:
    result = run("train", "recently_viewed", "--snapshot", snapshot.folder, "--output", tmp_path)

    assert result.exit_code == 1
    assert "nothing trains 'recently_viewed'" in result.output


def test_without_pytorch_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "endcap.trainers.training")
    monkeypatch.delitem(sys.modules, "endcap.trainers.export")
    monkeypatch.setitem(sys.modules, "torch", None)

    result = run("train", "popular", "--snapshot", tmp_path, "--output", tmp_path)

    assert result.exit_code == 1
    assert result.output == "Error: this needs torch: pip install 'endcap[train]'\n"


def test_settings_are_json_or_text() -> None:
    values = read_values(["ease.regularization=2.5", "item_knn.mode=basket", "popular.choose=true"],
                         ["ease", "item_knn", "popular"])  # fmt: skip

    assert values == {
        "ease": {"regularization": 2.5},
        "item_knn": {"mode": "basket"},
        "popular": {"choose": True},
    }


@pytest.mark.parametrize("setting", ["ease", "ease.regularization", "regularization=2", ".x=1", "ease.=1"])
def test_other_settings_are_rejected(setting: str) -> None:
    with pytest.raises(InvalidInput, match="is no setting"):
        read_values([setting], ["ease"])


def test_progress_is_a_line_for_each_strategy_and_one_every_ten_seconds() -> None:
    lines: list[str] = []
    times = iter([0.0, 1.0, 12.0, 12.0, 13.0])
    stage = progress_lines(lines.append, lambda: next(times))

    stage("ease", 0.0, "inverting")
    stage("ease", 0.5, "inverting")
    stage("ease", 0.9, "inverting")
    stage("sasrec", 0.01, "epoch 1")

    assert lines == ["ease: 0% inverting", "ease: 90% inverting", "sasrec: 1% epoch 1"]

"""The commands ``endcap train`` and ``endcap evaluate``."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endcap.sdk.bundle import Bundle, BundleManifest
from endcap.sdk.errors import EndcapError, InvalidInput
from endcap.sdk.query import Task


if TYPE_CHECKING:
    from endcap.evaluation import Report
    from endcap.runtime.plugin_host import PluginHost
    from endcap.sdk.snapshot import Snapshot
    from endcap.trainers.comparison import Stage
    from endcap.trainers.measuring import Measured


SECONDS_BETWEEN_LINES = 10.0
"""The rest between two lines of progress where standard error is no terminal."""

Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STRATEGY.NAME=VALUE", help="A parameter; may be given several times."),
]


def train(
    strategies: Annotated[list[str], typer.Argument(help="The strategies to train.")],
    *,
    snapshot: Annotated[
        str, typer.Option(help="A snapshot, as 'endcap snapshot' writes it: a folder, or s3://BUCKET/PREFIX.")
    ],
    output: Annotated[Path, typer.Option(help="The folder of all bundles.")],
    values: Values = None,
    measure: Annotated[
        bool, typer.Option(help="First train without the last 30 days, and test the strategies on them.")
    ] = True,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="A bundle that serves, to test beside the new one."),
    ] = None,
) -> None:
    """Train strategies on a snapshot and write a bundle for each."""
    with _errors_in_a_sentence(), _progress() as stage:
        from endcap.runtime.plugin_host import PluginHost
        from endcap.sdk.snapshot import Snapshot
        from endcap.trainers.measuring import Measured
        from endcap.trainers.training import find_trainer, train_bundle

        chosen = read_values(values or (), strategies)
        host, opened = PluginHost.discover(), Snapshot.open(snapshot)
        for name in strategies:
            find_trainer(name)
        measured: Mapping[str, Measured] = {}
        if measure:
            serving = _serving(against or (), strategies)
            measured = _measure(opened, strategies, serving, host=host, values=chosen, stage=stage)
        for name in strategies:
            figures = measured.get(name, Measured({}, {}))
            training = train_bundle(
                name,
                opened,
                output,
                host=host,
                created_time=time.time_ns() // 1_000_000,
                progress=partial(stage, name),
                values=chosen.get(name),
                metrics=figures.metrics,
                compared=figures.compared,
            )
            said = ", ".join(f"{key} {value:.4f}" for key, value in figures.metrics.items())
            typer.echo(f"{training.bundle}  {training.seconds:.1f} s  {said}".rstrip())


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="The folder of a data set or of a snapshot, or a CSV file of events.")
    ],
    *,
    strategies: Annotated[list[str], typer.Option("--strategy", help="May be given several times.")],
    setting: Annotated[
        str,
        typer.Option(
            help="strict, refit or validation: the events to train and to test on. By default strict for"
            " sequences and refit for other data."
        ),
    ] = "",
    cutoff: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Dated data: train on the events before it, instead of all but the last 30 days.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Dated data: leave out later events."),
    ] = None,
    task: Annotated[
        str, typer.Option(help="for-you, rank, similar and related (by links), or search (with --judged).")
    ] = Task.FOR_YOU,
    judged: Annotated[
        Path | None, typer.Option(help="A CSV of the columns query, item and perhaps grade, for search.")
    ] = None,
    values: Values = None,
    metrics: Annotated[
        str, typer.Option(help="The columns of the table and the panels of the chart.")
    ] = "recall@20,ndcg@20,hit@20,mrr@20",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the reports to this file.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw the reports into this PNG file.")] = None,
) -> None:
    """Train strategies on a part of a data set and test them on the rest."""
    with _errors_in_a_sentence():
        from endcap.evaluation import (
            VALIDATION,
            Setting,
            draw,
            read_evaluation_data,
            read_tuning_data,
            table,
        )
        from endcap.runtime.plugin_host import PluginHost
        from endcap.trainers.comparison import compare

        if setting not in {"", *Setting, VALIDATION}:
            raise InvalidInput(
                f"setting {setting!r} does not exist: use one of {', '.join(Setting)}, {VALIDATION}"
            )
        if task not in list(Task):
            raise InvalidInput(f"task {task!r} does not exist: use one of {', '.join(Task)}")
        if setting == VALIDATION and task != Task.FOR_YOU:
            raise InvalidInput(f"the task {task} has no setting 'validation': leave one of them out")
        read = (
            read_tuning_data
            if setting == VALIDATION
            else partial(
                read_evaluation_data,
                setting=Setting(setting) if setting else None,
                task=Task(task),
                judged=judged,
            )
        )
        chosen = read_values(values or (), strategies)
        with _progress() as stage:
            cases = read(data, cutoff=cutoff, until=until)
            reports = compare(cases, strategies, host=PluginHost.discover(), stage=stage, values=chosen)
        columns = _known_metrics(reports, metrics)
        typer.echo(table(reports, metrics=columns))
        if json_file:
            json_file.write_text(json.dumps([report.to_dict() for report in reports], indent=2))
        if chart:
            draw(reports, chart, metrics=columns)


def read_values(settings: Sequence[str], strategies: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``strategy.name=value`` settings; a value that is no JSON is a text.

    Raises:
        InvalidInput: A setting has another form, or is for none of the strategies.
    """
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        strategy, dot, name = key.partition(".")
        if not (equals and dot and strategy and name):
            raise InvalidInput(f"{setting!r} is no setting: write strategy.name=value")
        if strategy not in strategies:
            raise InvalidInput(f"{setting!r} is for {strategy}, which is not among the strategies named")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        values.setdefault(strategy, {})[name] = value
    return values


def _serving(folders: Sequence[Path], strategies: Sequence[str]) -> list[BundleManifest]:
    """Open the bundles whose hyperparameters the trainers know, and report why the others are left out."""
    from endcap.trainers.measuring import read_hyperparameters

    serving = []
    for folder in folders:
        try:
            manifest = Bundle.open(folder).manifest
            read_hyperparameters(manifest.model, manifest.parameters)
        except EndcapError as error:
            typer.echo(f"Not tested beside {folder}: {error}", err=True)
            continue
        if manifest.model not in strategies:
            raise InvalidInput(f"{folder} is of {manifest.model}, which is not among the strategies named")
        serving.append(manifest)
    return serving


def _measure(
    snapshot: "Snapshot",
    strategies: Sequence[str],
    serving: Sequence[BundleManifest],
    *,
    host: "PluginHost",
    values: Mapping[str, Mapping[str, Any]],
    stage: "Stage",
) -> "dict[str, Measured]":
    from endcap.evaluation import read_evaluation_data
    from endcap.trainers.measuring import measure

    try:
        cases = read_evaluation_data(snapshot.folder)
    except InvalidInput as error:
        typer.echo(f"Not measured: {error}", err=True)
        return {}
    return measure(cases, strategies, serving, host=host, stage=stage, values=values)


def _known_metrics(reports: Sequence["Report"], metrics: str) -> list[str]:
    known = reports[0].slices["all"].metrics
    chosen = metrics.split(",")
    for metric in chosen:
        if metric not in known:
            raise InvalidInput(f"metric {metric!r} does not exist: use some of {', '.join(known)}")
    return chosen


@contextmanager
def _progress() -> Iterator["Stage"]:
    """Show a progress bar that disappears at the end, or write lines where nobody watches a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield progress_lines(partial(print, file=sys.stderr, flush=True), time.monotonic)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def stage(name: str, share: float, what: str) -> None:
            bar.update(task, completed=share, description=f"{name}: {what}")

        yield stage


def progress_lines(write: Callable[[str], object], clock: Callable[[], float]) -> "Stage":
    """Return a stage that writes a line for each strategy, and others ``SECONDS_BETWEEN_LINES`` apart."""
    last_name, last_time = "", 0.0

    def stage(name: str, share: float, what: str) -> None:
        nonlocal last_name, last_time
        if name != last_name or clock() >= last_time + SECONDS_BETWEEN_LINES:
            last_name, last_time = name, clock()
            write(f"{name}: {share:.0%} {what}")

    return stage


@contextmanager
def _errors_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except EndcapError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(f"Error: this needs {error.name}: pip install 'endcap[train]'", err=True)
        raise typer.Exit(1) from error

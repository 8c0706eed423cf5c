"""The quality of every strategy on public data sets, as Markdown, each compared in pairs with the best one.

Run it with ``python tests/benchmarks/quality.py DATA lastfm amazon-beauty``, where ``DATA`` is a folder with
a folder for each data set; ``readers.FORMATS`` lists the files that such a folder holds. ``--setting refit``
trains on the validation events too, and ``--strategy`` chooses strategies. A data set that is missing is
named, and so is a strategy that cannot be trained on one.

On the data sets of ``EXPECTED`` the script first checks two strategies without any chance in them against
figures that were computed elsewhere. If they differ, the harness is wrong, and no other figure counts.
"""

import argparse
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from endcap.evaluation import (
    EvaluationData,
    Report,
    Setting,
    best,
    differences_from,
    read_evaluation_data,
)
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import EndcapError
from endcap.trainers.comparison import compare


BASE_MODELS = ("popular", "item_knn", "content", "ease", "matrix_factorization", "next_purchase")
"""The strategies that ship and answer for-you with one model each."""

METRICS = ("hit@5", "hit@10", "hit@20", "ndcg@5", "ndcg@10", "ndcg@20")

PAIRED = ("hit@10", "ndcg@10")
"""The metrics by which strategies are compared in pairs; the last one says which is the best."""

EXPECTED: Mapping[tuple[str, str, str], Mapping[str, float]] = {
    ("amazon-beauty", "refit", "popular"): {"hit@10": 0.0136, "ndcg@10": 0.0061},
    ("amazon-beauty", "strict", "item_knn"): {"hit@10": 0.0823, "ndcg@10": 0.0520},
    ("amazon-beauty", "refit", "item_knn"): {"hit@10": 0.0930, "ndcg@10": 0.0588},
    ("lastfm", "refit", "popular"): {"hit@10": 0.0440},
    ("lastfm", "strict", "item_knn"): {"hit@10": 0.0633, "ndcg@10": 0.0393},
    ("lastfm", "refit", "item_knn"): {"hit@10": 0.0670, "ndcg@10": 0.0413},
    ("ml-1m", "strict", "item_knn"): {"hit@10": 0.2565, "ndcg@10": 0.1479},
    ("ml-1m", "refit", "item_knn"): {"hit@10": 0.2571, "ndcg@10": 0.1486},
}
"""Figures by data set, setting and strategy, of other implementations of the protocol."""

TOLERANCE = 0.0001


def main() -> int:
    """Print a table for each data set; return 1 if one is missing or the harness is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds the folders of the data sets")
    parser.add_argument("names", nargs="+", help="the data sets")
    parser.add_argument("--setting", type=Setting, choices=list(Setting))
    parser.add_argument("--strategy", dest="strategies", action="append")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.names:
        try:
            data = read_evaluation_data(arguments.data / name, setting=arguments.setting)
        except EndcapError as error:
            print(f"{name} is missing: {error}\n")
            failed = True
            continue
        reports, skipped = evaluate_all(data, arguments.strategies or [*BASE_MODELS, "hybrid"])
        print("\n".join(lines(data, reports, skipped)), end="\n\n", flush=True)
        wrong = list(check(name, data, reports))
        print("\n".join(wrong))
        failed |= bool(wrong)
    return int(failed)


def evaluate_all(data: EvaluationData, names: Sequence[str]) -> tuple[list[Report], dict[str, str]]:
    """Return a report for each strategy that can be trained on the data, and why the others cannot.

    Each is evaluated alone, so that none uses the model of another one, but ``hybrid``, which blends those
    that can be trained.
    """
    reports: list[Report] = []
    skipped: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name == "hybrid"):
        others = [report.strategy for report in reports if report.strategy != "popular"]
        together = [*others, name] if name == "hybrid" else [name]
        base_models = " ".join([*others, "popular_week", "popular_month"])
        values = {"hybrid": {"base_models": base_models}} if name == "hybrid" else None
        try:
            reports += compare(data, together, host=PluginHost.discover(), stage=tell, values=values)[-1:]
        except EndcapError as error:
            skipped[name] = str(error)
    return reports, skipped


def tell(strategy: str, share: float, step: str) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{strategy}: {step} {share:4.0%}\033[K", end="", file=sys.stderr)


def lines(data: EvaluationData, reports: Sequence[Report], skipped: Mapping[str, str]) -> Iterator[str]:
    """Return the Markdown of one data set."""
    reference = best(reports, PAIRED[-1])
    columns = [*METRICS, *(f"{metric} less that of {reference.strategy}" for metric in PAIRED)]
    beyond = list(reference.beyond)
    yield f"### {data.name}: {data.protocol}\n"
    yield (
        f"{reference.headline.cases:,} cases, {reference.items:,} items ranked, {reference.events:,} training"
        f" events; {platform.machine()}.\n"
    )
    yield "| " + " | ".join(["strategy", *columns, *beyond, "training s", "peak MiB", "ms/query"]) + " |"
    yield "|---" * (len(columns) + len(beyond) + 4) + "|"
    for report in sorted(reports, key=lambda report: -report.headline.metrics[PAIRED[-1]].value):
        cells = [report.strategy + ("" if report.scored else " (lists)")]
        cells += [f"{report.headline.metrics[metric].value:.4f}" for metric in METRICS]
        cells += [paired(reference, report, metric) for metric in PAIRED]
        cells += [f"{report.beyond[name]:.3f}" for name in beyond]
        cells += [
            "-" if value is None else f"{value:.0f}"
            for value in (report.training_seconds, report.peak_memory_mebibytes)
        ]
        yield "| " + " | ".join([*cells, f"{report.query_milliseconds:.2f}"]) + " |"
    yield ""
    yield "Differences have their 95 % interval; one of less than two standard errors is no gain."
    for name, reason in skipped.items():
        yield f"`{name}` is left out: {reason}."


def paired(reference: Report, report: Report, metric: str) -> str:
    """Return the difference of a metric from the reference, with its interval."""
    if report is reference:
        return ""
    difference = differences_from(reference, report)[metric]
    words = "" if difference.tells else " no gain"
    return f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]{words}"


def check(name: str, data: EvaluationData, reports: Sequence[Report]) -> Iterator[str]:
    """Return a sentence for each figure that differs from the expected one."""
    setting = data.protocol.rpartition(" ")[2]
    for report in reports:
        for metric, expected in EXPECTED.get((name, setting, report.strategy), {}).items():
            found = report.headline.metrics[metric].value
            if abs(round(found, 4) - expected) > TOLERANCE:
                yield f"The harness is wrong: {report.strategy} has {metric} {found:.4f}, not {expected:.4f}."


if __name__ == "__main__":
    sys.exit(main())

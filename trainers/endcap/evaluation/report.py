"""The result of an evaluation, as a value, as JSON and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Measure(NamedTuple):
    """A mean over cases and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SliceReport:
    """The accuracy on one part of the cases."""

    cases: int
    """Number of cases."""

    metrics: Mapping[str, Measure]
    """By metric and cutoff: ``ndcg@10``."""


@dataclass(frozen=True, slots=True)
class Report:
    """The quality of one strategy on one data set."""

    strategy: str
    data: str

    protocol: str
    """The split of the data."""

    scored: bool
    """True when all items were ranked by score; False when the strategy was tested by its lists, because it
    has no scores or lists other items than those it scores best."""

    items: int
    """Number of ranked items."""

    events: int
    """Number of training events."""

    slices: Mapping[str, SliceReport]
    """``all`` is the headline."""

    beyond: Mapping[str, float]
    """Coverage, novelty in bits, diversity and Gini coefficient of the headline's lists."""

    query_milliseconds: float
    """Median time of one query asked alone."""

    query_milliseconds_p95: float

    training_seconds: float | None = None
    peak_memory_mebibytes: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        values = asdict(self)
        for part in values["slices"].values():
            part["metrics"] = {metric: measure._asdict() for metric, measure in part["metrics"].items()}
        return values


def table(
    reports: Sequence[Report], *, metrics: Sequence[str] = ("recall@20", "ndcg@20", "hit@20", "mrr@20")
) -> str:
    """Return reports side by side as aligned text: the headline with its intervals, then the slices.

    Args:
        reports: One a strategy, all on the same data.
        metrics: The columns; each must be in the reports.
    """
    blocks = [_title(reports[0])]
    for name, part in reports[0].slices.items():
        header = [f"{name} ({part.cases:,} cases)", *metrics]
        rows = []
        for report in reports:
            measured = report.slices[name].metrics
            mark = "" if report.scored else " *"
            rows.append([report.strategy + mark, *(_measure(measured[metric]) for metric in metrics)])
        blocks.append(_aligned([header, *rows]))
    header = ["beyond accuracy", *reports[0].beyond, "ms/query", "p95", "training s", "peak MiB"]
    rows = [
        [
            report.strategy,
            *(f"{value:.3f}" for value in report.beyond.values()),
            f"{report.query_milliseconds:.2f}",
            f"{report.query_milliseconds_p95:.2f}",
            _optional(report.training_seconds),
            _optional(report.peak_memory_mebibytes),
        ]
        for report in reports
    ]
    blocks.append(_aligned([header, *rows]))
    if not all(report.scored for report in reports):
        blocks.append(
            "* tested by its lists alone: it has no scores, or lists other items than those it scores best"
        )
    return "\n\n".join(blocks)


def _title(report: Report) -> str:
    return (
        f"{report.data}: {report.protocol}; {report.events:,} training events, {report.items:,} items ranked;"
        " means with 95 % intervals"
    )


def _measure(measure: Measure) -> str:
    return f"{measure.value:.4f} [{measure.low:.4f}, {measure.high:.4f}]"


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

"""Reports side by side, as aligned text."""

from collections.abc import Sequence

from endcap.evaluation.differences import best, differences_from
from endcap.evaluation.intervals import Difference
from endcap.evaluation.report import Measure, Report


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
        if name == "all" and len(reports) > 1:
            blocks.append(_differences(reports, metrics))
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


def _differences(reports: Sequence[Report], metrics: Sequence[str]) -> str:
    """Return the differences from the best strategy by the first metric, on the same cases."""
    reference = best(reports, metrics[0])
    rows = [[f"less {reference.strategy}, the best", *metrics]]
    for report in reports:
        if report is not reference:
            found = differences_from(reference, report)
            rows.append([report.strategy, *(_difference(found[metric]) for metric in metrics)])
    return f"{_aligned(rows)}\nno gain: the difference is less than two standard errors"


def _difference(difference: Difference) -> str:
    words = "" if difference.tells else " no gain"
    return f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]{words:8}"


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

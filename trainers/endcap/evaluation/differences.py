"""The differences of strategies from the best of them, on the same cases."""

from collections.abc import Mapping, Sequence

from endcap.evaluation.intervals import Difference, paired_differences
from endcap.evaluation.report import Report


def best(reports: Sequence[Report], metric: str) -> Report:
    """Return the report with the highest mean of a metric in the headline; the first one of equal ones."""
    return max(reports, key=lambda report: report.headline.metrics[metric].value)


def differences_from(reference: Report, report: Report, *, seed: int = 0) -> Mapping[str, Difference]:
    """Return by how much a strategy exceeds the reference, by metric, in the headline.

    Args:
        reference: The strategy to compare with.
        report: A strategy that was asked the same cases.
        seed: Fixes the bootstrap.
    """
    own, others = report.headline, reference.headline
    found = paired_differences(own.values, others.values, own.clusters, seed=seed)
    return dict(zip(own.metrics, found, strict=True))

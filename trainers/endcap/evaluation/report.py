"""The result of an evaluation, as a value and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Measure(NamedTuple):
    """A mean over cases and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class SliceReport:
    """The accuracy on one part of the cases."""

    cases: int
    """Number of cases."""

    metrics: Mapping[str, Measure]
    """By metric and cutoff: ``ndcg@10``."""

    values: NDArray[np.float64] = field(repr=False)
    """The metrics of each case, ``(cases, metrics)``, in the order of ``metrics``."""

    clusters: NDArray[np.int64] | None = field(default=None, repr=False)
    """A number a case, equal for cases that depend on each other; None where none do."""


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

    @property
    def headline(self) -> SliceReport:
        """The slice of all cases."""
        return self.slices["all"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, without those of single cases."""
        values = asdict(replace(self, slices={}))
        values["slices"] = {
            name: {
                "cases": part.cases,
                "metrics": {metric: measure._asdict() for metric, measure in part.metrics.items()},
            }
            for name, part in self.slices.items()
        }
        return values

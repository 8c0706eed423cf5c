"""The conditions of every item of an answer: the placement's, the request's and those of rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from endcap.sdk.filters import Filter
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.reranking import RuleOutcome, Rules
from endcap.server.serving.ladders import Ladder
from endcap.server.serving.masks import Eligible


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of one answer, in the order in which they are applied."""

    named: Mapping[str, Filter]
    """The conditions of placement and request that exist, which the answer counts by name, in that order."""

    ruled: Mapping[str, Filter]
    """The conditions of rules by name, which the answer counts among the rules' outcomes."""

    filters: Sequence[Filter]
    """All conditions."""

    @classmethod
    def of(cls, request: RecommendationRequest, ladder: Ladder, rules: Rules) -> "Conditions":
        """Collect the conditions of a request to a placement whose rules in force are given."""
        either = {"placement": ladder.filter, "request": request.filter}
        named = {name: condition for name, condition in either.items() if condition is not None}
        return cls(named, rules.filters, [*named.values(), *rules.filters.values()])

    def removed(self, eligible: Eligible) -> dict[str, int]:
        """Return by name how many rows each condition removed that no earlier one had removed.

        Args:
            eligible: What the conditions let through.
        """
        return dict(zip(self.named, eligible.removed[: len(self.named)], strict=True))

    def outcomes(self, eligible: Eligible) -> tuple[RuleOutcome, ...]:
        """Return the outcomes of the rules that filter.

        Args:
            eligible: What the conditions let through.
        """
        return tuple(
            RuleOutcome(name, {"filtered": count})
            for name, count in zip(self.ruled, eligible.removed[len(self.named) :], strict=True)
        )

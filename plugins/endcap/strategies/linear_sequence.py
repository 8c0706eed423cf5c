"""Linear sequence: a closed-form linear model of which items follow which, helped by texts and attributes.

The trainer of the same name solves for it and names its sources.
"""

from endcap.sdk import RegisterStrategy, hookimpl
from endcap.sdk.sequences import SequenceRecommender


class LinearSequence(SequenceRecommender):
    """Recommends the items that follow the last items of the history."""

    model_name = "linear_sequence"


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``linear_sequence``."""
    register("linear_sequence", LinearSequence)

"""What each rule did to a page, in numbers; clients put them into words."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The outcome of one rule."""

    name: str

    counts: Mapping[str, int]
    """How many items, by what the rule did to them:

    - ``filtered``: left out before any was ranked
    - ``lifted``, ``buried``: candidates moved up and down by boosts, biases and fatigue
    - ``crowded``: placed though a diversity rule asks for one less alike, for want of such a candidate
    - ``capped``: candidates that a cap keeps off the page
    - ``reserved``, ``placed``: places of a quota, and items on the page that match it
    - ``pinned``: placed by a pin, at its position or, on a shorter page, at the end
    """

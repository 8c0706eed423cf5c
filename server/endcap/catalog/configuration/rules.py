"""Rules: what a merchandiser demands of every answer of a placement, whatever the strategy.

Rules are plain data here, stored with their placement; the server applies them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias


_DAY = 86_400_000  # milliseconds


@dataclass(frozen=True, slots=True)
class FilterRule:
    """Shows only items that match."""

    kind: ClassVar[str] = "filter"
    filter: str


@dataclass(frozen=True, slots=True)
class BoostRule:
    """Lifts or buries items that match."""

    kind: ClassVar[str] = "boost"
    filter: str

    strength: float
    """From -1 to 1, as a share of the difference between the best and the worst ranked score."""


class BiasTarget(StrEnum):
    """The property of an item that a bias reads."""

    PRICE = "price"

    MARGIN = "margin"
    """Price less cost."""

    DISCOUNT = "discount"
    """The discount: the share by which the price lies below the original price."""


@dataclass(frozen=True, slots=True)
class BiasRule:
    """Lifts or buries items by their price, margin or discount."""

    kind: ClassVar[str] = "bias"
    target: BiasTarget

    strength: float
    """From -1 (prefer low values) to 1 (prefer high values), on the scale of a boost's strength."""


@dataclass(frozen=True, slots=True)
class FatigueRule:
    """Buries items that the user was shown and did not act on."""

    kind: ClassVar[str] = "fatigue"

    exposure_count: int = 3
    """Times that an item may be shown before it is buried."""

    window: int = 7 * _DAY
    """Milliseconds during which an exposure counts."""

    strength: float = 0.5
    """From 0 to 1, on the scale of a boost's strength, for each exposure beyond the count."""


class DiversityMethod(StrEnum):
    """The method of diversification."""

    WINDOW = "window"
    """No two items within a window share a value, as far as items allow."""

    MMR = "mmr"
    """Maximal marginal relevance."""

    DPP = "dpp"
    """Determinantal point process, greedy."""


@dataclass(frozen=True, slots=True)
class DiversityRule:
    """Spreads an answer over the values of an attribute, or over unlike items."""

    kind: ClassVar[str] = "diversity"
    method: DiversityMethod = DiversityMethod.WINDOW

    level: float = 0.3
    """The weight of diversity against relevance, 0 to 1; for ``MMR`` and ``DPP``."""

    attribute: str = ""
    """Field or attribute to spread over, such as ``brand`` or ``attributes.colour``; for ``WINDOW``."""

    window: int = 3
    """Number of consecutive items within which a value may not repeat; for ``WINDOW``."""


@dataclass(frozen=True, slots=True)
class CapRule:
    """Limits how many items may share a value. The only rule that may shorten an answer."""

    kind: ClassVar[str] = "cap"

    attribute: str
    """Field or attribute whose values are counted."""

    maximum_count: int

    window: int | None = None
    """Number of consecutive items that are counted; None for the whole page."""


@dataclass(frozen=True, slots=True)
class QuotaRule:
    """Reserves a share of a page for items that match, as far as such items exist."""

    kind: ClassVar[str] = "quota"
    filter: str

    share: float
    """Above 0 and at most 1; the count is rounded down."""


@dataclass(frozen=True, slots=True)
class PinRule:
    """Puts an item, or the best one that matches, in a fixed position of the first page."""

    kind: ClassVar[str] = "pin"

    position: int
    """Position on the page; 1 is the first."""

    item_id: str = ""
    """The item to pin; empty if ``filter`` selects the item."""

    filter: str = ""


Action: TypeAlias = (
    FilterRule | BoostRule | BiasRule | FatigueRule | DiversityRule | CapRule | QuotaRule | PinRule
)
"""The effect of a rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a placement."""

    name: str
    """Unique within the placement; the trace refers to the rule by this name."""

    action: Action
    disabled: bool = False

    start_time: int | None = None
    """Unix milliseconds from which the rule applies; None for at once."""

    end_time: int | None = None
    """Unix milliseconds from which the rule no longer applies; None if it never ends."""

    def applies(self, time: int) -> bool:
        """Return whether the rule is in force at a moment, in Unix milliseconds."""
        return (
            not self.disabled
            and (self.start_time is None or self.start_time <= time)
            and (self.end_time is None or time < self.end_time)
        )


_ACTIONS: Mapping[str, type[Action]] = MappingProxyType(
    {
        action.kind: action
        for action in (
            FilterRule,
            BoostRule,
            BiasRule,
            FatigueRule,
            DiversityRule,
            CapRule,
            QuotaRule,
            PinRule,
        )
    }
)


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON values."""
    return asdict(rule) | {"kind": rule.action.kind}


def rule_from_json(values: Mapping[str, Any]) -> Rule:
    """Return the rule that ``rule_to_json`` encoded."""
    kind = values["kind"]
    action = dict(values["action"])
    if kind == BiasRule.kind:
        action["target"] = BiasTarget(action["target"])
    elif kind == DiversityRule.kind:
        action["method"] = DiversityMethod(action["method"])
    others = {name: value for name, value in values.items() if name not in {"kind", "action"}}
    return Rule(action=_ACTIONS[kind](**action), **others)

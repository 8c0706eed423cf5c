"""Readiness: the families of strategies for which a shop's data is enough, judged from counts alone.

The minimum and recommended numbers of positives are those of Amazon Personalize: at least 1,000 positives and
25 users with two or more, better 50,000 and 1,000
(https://docs.aws.amazon.com/personalize/latest/dg/domain-use-cases.html). The other limits come from the
trainers and strategies that ship with Endcap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


DAY = 86_400_000  # milliseconds

FEWEST_POSITIVES = 1_000
FEWEST_RETURNING = 25
GOOD_POSITIVES = 50_000
GOOD_RETURNING = 1_000

LIST_LENGTH = 10
"""The default number of items in an answer."""

MOST_DENSE_ITEMS = 20_000
"""The largest number of items for models of all item pairs: ``ease`` and ``next_purchase``."""

JUDGED_DAYS = 30
"""Days that trainers hold back to evaluate a model trained on the earlier days."""

PURCHASE_DAYS = 56
"""Days of events that ``next_purchase`` needs: eight windows of seven days."""

FEWEST_DESCRIBED = 0.5
"""The share of items that need more than a title, so that ``content`` can tell items apart."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of a shop.

    Positives are the events that trainers learn from: purchases, or all events in a shop without purchases. A
    visitor who is linked to a user is that user.
    """

    items: int = 0
    """Items that are not deleted."""

    described_items: int = 0
    """Items with a description, a brand, categories or tags."""

    users: int = 0
    visitors: int = 0
    """Visitors who are not linked to a user."""

    events: Mapping[str, int] = field(default_factory=dict)
    """Number of events by type."""

    first_time: int | None = None
    """Unix milliseconds of the oldest event."""

    last_time: int | None = None

    repeated_events: int = 0
    """Events that repeat another one of the same person, type, item and time."""

    unknown_events: int = 0
    """Events of items that the catalog does not hold."""

    unknown_items: int = 0
    """The number of items that these events name."""

    positives: int = 0
    chosen_pairs: int = 0
    """Distinct pairs of a person and an item of the catalog in the positives."""

    chosen_items: int = 0
    """Distinct items of these pairs."""

    choosers: int = 0
    """Distinct users and visitors of these pairs."""

    returning: int = 0
    """Choosers of two items or more."""

    judged: int = 0
    """Choosers of the last 30 days who had chosen before."""

    @property
    def event_count(self) -> int:
        """Events of all types."""
        return sum(self.events.values())

    @property
    def days(self) -> float:
        """Days from the oldest event to the newest one."""
        if self.first_time is None or self.last_time is None:
            return 0.0
        return (self.last_time - self.first_time) / DAY

    @property
    def density(self) -> float:
        """The chosen pairs as a share of all pairs of a chooser and an item."""
        return self.chosen_pairs / (self.choosers * self.items) if self.choosers and self.items else 0.0


class Level(StrEnum):
    """The extent to which the data is enough."""

    ENOUGH = "enough"
    THIN = "thin"
    """The strategies work, and more data would improve them."""
    TOO_LITTLE = "too little"


@dataclass(frozen=True, slots=True)
class ReadinessVerdict:
    """The verdict on the data for a family of strategies."""

    family: tuple[str, ...]
    """The names of the strategies; or ``measuring``, the evaluation of models."""

    level: Level
    advice: str = ""
    """The remedy; empty where the data is enough."""


def judge(counts: Counts) -> list[ReadinessVerdict]:
    """Judge for each family of strategies whether the data is enough, and advise what to do."""
    positives = _positives(counts)
    dense = positives if counts.items <= MOST_DENSE_ITEMS else _too_many_items(counts)
    next_purchase = dense if dense[0] is Level.TOO_LITTLE else _purchases(counts) or dense
    verdicts = {
        ("popular",): _popularity(counts),
        ("content",): _content(counts),
        ("item_knn", "matrix_factorization", "linear_sequence", "sasrec", "hybrid"): positives,
        ("ease",): dense,
        ("next_purchase",): next_purchase,
        ("measuring",): _measuring(counts),
    }
    return [ReadinessVerdict(family, level, advice) for family, (level, advice) in verdicts.items()]


def warn(counts: Counts) -> list[str]:
    """Return warnings about the data, whatever it is used for."""
    warnings = []
    if counts.unknown_events:
        warnings.append(
            f"{counts.unknown_events:,} of {counts.event_count:,} events name {counts.unknown_items:,} items"
            " that the catalog does not hold, and teach nothing: import these items"
        )
    if counts.repeated_events:
        warnings.append(
            f"{counts.repeated_events:,} events repeat another one at the same moment: give events ids, so"
            " that what is sent twice counts once"
        )
    if counts.first_time is not None and counts.first_time < 365 * DAY:
        warnings.append("there are events of 1970: write times in milliseconds, and not in seconds")
    if counts.event_count and not counts.events.get("purchase"):
        warnings.append(
            "no event is a purchase, so that trainers learn from events of every type: record purchases"
        )
    return warnings


def _popularity(counts: Counts) -> tuple[Level, str]:
    if not counts.chosen_items:
        return Level.TOO_LITTLE, "no item was chosen: record events of items that the catalog holds"
    if counts.chosen_items < LIST_LENGTH:
        have = f"{counts.chosen_items} items were chosen, and a list has {LIST_LENGTH}"
        return Level.THIN, f"{have}: end placements with cold_start"
    return Level.ENOUGH, ""


def _content(counts: Counts) -> tuple[Level, str]:
    if counts.items < LIST_LENGTH:
        return Level.TOO_LITTLE, f"the catalog holds {counts.items} items: import it whole"
    if counts.described_items < FEWEST_DESCRIBED * counts.items:
        bare = f"{counts.items - counts.described_items:,} of {counts.items:,} items"
        advice = "import descriptions, brands, categories or tags"
        return Level.THIN, f"{bare} have a title and nothing more: {advice}"
    return Level.ENOUGH, ""


def _positives(counts: Counts) -> tuple[Level, str]:
    have = f"there are {counts.positives:,} positives, and {counts.returning:,} users chose two items or more"
    if counts.positives < FEWEST_POSITIVES or counts.returning < FEWEST_RETURNING:
        needed = f"{FEWEST_POSITIVES:,} and {FEWEST_RETURNING:,} are needed"
        return Level.TOO_LITTLE, f"{have}; {needed}: serve popular and content until then"
    if counts.positives < GOOD_POSITIVES or counts.returning < GOOD_RETURNING:
        better = f"{GOOD_POSITIVES:,} and {GOOD_RETURNING:,} are better"
        return Level.THIN, f"{have}; {better}: compare with popular before you serve it"
    return Level.ENOUGH, ""


def _too_many_items(counts: Counts) -> tuple[Level, str]:
    have = f"there are {counts.items:,} items, and a model of every two holds {MOST_DENSE_ITEMS:,}"
    return Level.TOO_LITTLE, f"{have}: train item_knn with max_neighbors=500, or matrix_factorization"


def _purchases(counts: Counts) -> tuple[Level, str] | None:
    """Return a verdict if the data lacks what ``next_purchase`` needs beside positives, else None."""
    if not counts.events.get("purchase"):
        return Level.TOO_LITTLE, "no event is a purchase: record purchases"
    if counts.days < PURCHASE_DAYS:
        have = f"the events span {counts.days:.0f} days, and it learns from {PURCHASE_DAYS}"
        return Level.THIN, f"{have}: train again when there are more, or set 'windows' lower"
    return None


def _measuring(counts: Counts) -> tuple[Level, str]:
    if counts.days <= JUDGED_DAYS:
        have = f"the events span {counts.days:.0f} days, and the last {JUDGED_DAYS} are held back"
        return Level.TOO_LITTLE, f"{have}: train with --no-measure until there are more"
    have = f"{counts.judged:,} users of the last {JUDGED_DAYS} days had chosen before"
    if counts.judged < FEWEST_RETURNING:
        advice = "send the same user_id for the same person, or train with --no-measure"
        return Level.TOO_LITTLE, f"{have}, {FEWEST_RETURNING} are needed: {advice}"
    if counts.judged < GOOD_RETURNING:
        return Level.THIN, f"{have}, {GOOD_RETURNING:,} are better: look at the intervals of the figures"
    return Level.ENOUGH, ""

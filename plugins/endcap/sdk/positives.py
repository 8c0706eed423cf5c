"""Positives: the evidence of preference in one event, the same in training and in serving.

The weight of an event is the weight of its type, scaled, times its value:

=============  ==========================================================================================
event          value
=============  ==========================================================================================
rating         from −1 for the lowest rating, over 0 for the neutral one, to 1 for the highest
other          ``1 + δ log(quantity)``, at least 0: ten pieces count a little more than one
without value  1
=============  ==========================================================================================

A weight below 0 speaks against an item. The recency of an event is each model's own.

Models learn from the types of the greatest weight. A type is trusted alone once it has ``TRUSTED_COUNT``
events; until then the next types join it. Types of a weight below 0 always join.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import Rows


RATING = "rating"
"""The event type whose value is a rating; the value of every other type is a quantity."""

TRUSTED_COUNT = 1_000
"""The number of events that models learn from before the types of less weight are left out."""

QUANTITY_DAMPING = 0.02
"""``δ``: what each factor e of the quantity adds to the weight of an event."""

_TOP_RATINGS = (5.0, 10.0, 100.0)


@dataclass(frozen=True, slots=True)
class Positives:
    """The definition of a positive that a model was trained with; a bundle's state holds it as JSON."""

    weights: Mapping[str, float]
    """The scaled weight of each event type: events that models learn from weigh 1 on average, before their
    values; an absent type weighs 0."""

    trusted: tuple[str, ...] = ()
    """The event types that models learn from."""

    lowest_rating: float = 1.0
    highest_rating: float = 5.0

    @classmethod
    def of_weights(cls, event_weights: Mapping[str, float]) -> Self:
        """Return the definition for models that learn from no events: the greatest weight counts 1."""
        greatest = max(event_weights.values(), default=0.0)
        return cls(_scaled(event_weights, greatest), tuple(filter(event_weights.get, event_weights)))

    @classmethod
    def fit(
        cls, types: NDArray[np.str_], values: NDArray[np.float32], event_weights: Mapping[str, float]
    ) -> Self:
        """Return the definition that suits the events of a shop.

        Args:
            types: The type of each event.
            values: The rating or the quantity of each event; NaN where there is none.
            event_weights: The weight of each event type, as the shop has set it.
        """
        counts = {
            name: count
            for name, weight in event_weights.items()
            if weight and (count := int(np.count_nonzero(types == name)))
        }
        trusted = trusted_types(counts, event_weights)
        learned = {name: counts[name] for name in trusted if event_weights[name] > 0}
        total = sum(event_weights[name] * count for name, count in learned.items())
        mean = total / max(sum(learned.values()), 1)
        ratings = values[types == RATING]
        lowest, highest = _rating_scale(ratings[np.isfinite(ratings)])
        return cls(_scaled(event_weights, mean), trusted, lowest, highest)

    @classmethod
    def of_state(cls, state: Mapping[str, Any], event_weights: Mapping[str, float]) -> Self:
        """Return the definition in the state of a model.

        Args:
            state: The state of a bundle, with the result of ``to_json`` under ``positives``.
            event_weights: The weights that apply where the state has none.
        """
        if "positives" not in state:
            return cls.of_weights(event_weights)
        stored = dict(state["positives"])
        return cls(**{**stored, "trusted": tuple(stored["trusted"])})

    def to_json(self) -> dict[str, Any]:
        """Return the definition as JSON values."""
        return {**asdict(self), "trusted": list(self.trusted)}

    def weigh(self, types: NDArray[np.str_], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weight of each event, 0 for no evidence.

        Args:
            types: The type of each event.
            values: The rating or the quantity of each event; NaN where there is none.
        """
        weights = np.zeros(len(types), np.float32)
        for name, weight in self.weights.items():
            chosen = np.flatnonzero(types == name) if weight else ()
            if len(chosen):
                own = values[chosen]
                factors = self._from_ratings(own) if name == RATING else _from_quantities(own)
                weights[chosen] = np.float32(weight) * np.where(np.isfinite(own), factors, np.float32(1))
        return weights

    def learns_from(self, types: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Return for each event whether models learn from its type."""
        return np.isin(types, self.trusted)

    def _from_ratings(self, ratings: NDArray[np.float32]) -> NDArray[np.float32]:
        half = (self.highest_rating - self.lowest_rating) / 2
        factors: NDArray[np.float32] = np.clip((ratings - self.lowest_rating) / half - 1, -1, 1)
        return factors


@dataclass(frozen=True, slots=True, eq=False)
class WeighedPairs:
    """Each user's evidence of each item, by user, then item."""

    users: NDArray[np.int64]
    rows: Rows

    weights: NDArray[np.float32]
    """The strongest evidence for the item plus the strongest against it; never 0."""

    times: NDArray[np.int64]
    """Unix milliseconds of the last event."""


def weigh_pairs(
    users: NDArray[np.int64], rows: Rows, weights: NDArray[np.float32], times: NDArray[np.int64]
) -> WeighedPairs:
    """Sum up the events of each user and item, so that an item chosen again and again counts once.

    Args:
        users: A number a user, from 0.
        rows: The item of each event.
        weights: The weight of each event.
        times: Unix milliseconds.
    """
    order = np.lexsort((rows, users))
    users, rows, weights, times = users[order], rows[order], weights[order], times[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (users[1:] != users[:-1]) | (rows[1:] != rows[:-1])
    first = np.flatnonzero(is_first)
    if not len(first):
        return WeighedPairs(users, rows, weights, times)
    total = np.maximum.reduceat(np.maximum(weights, 0), first)
    total += np.minimum.reduceat(np.minimum(weights, 0), first)
    last = np.maximum.reduceat(times, first)
    kept = total != 0
    return WeighedPairs(users[first][kept], rows[first][kept], total[kept], last[kept])


def _scaled(event_weights: Mapping[str, float], one: float) -> dict[str, float]:
    return {name: weight / (one if one > 0 else 1.0) for name, weight in event_weights.items()}


def trusted_types(counts: Mapping[str, int], event_weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the types to learn from: the strongest that together have enough events, and those against.

    Args:
        counts: The number of events of each type.
        event_weights: The weight of each event type; an absent type weighs 0.
    """
    reached = 0
    weights = {name: event_weights.get(name, 0.0) for name in counts}
    trusted = [name for name, weight in weights.items() if weight < 0]
    for weight in sorted({weight for weight in weights.values() if weight > 0}, reverse=True):
        if reached >= TRUSTED_COUNT:
            break
        alike = [name for name in counts if weights[name] == weight]
        reached += sum(counts[name] for name in alike)
        trusted += alike
    return tuple(sorted(trusted))


def _rating_scale(ratings: NDArray[np.float32]) -> tuple[float, float]:
    """Return the lowest and the highest rating of the scale that the ratings are on, 1 to 5 without any."""
    if not len(ratings):
        return 1.0, 5.0
    lowest, highest = float(ratings.min()), float(ratings.max())
    if highest <= 1 and lowest < 1:  # a thumb up or down, or a share
        return min(lowest, 0.0), 1.0
    top = next((top for top in _TOP_RATINGS if highest <= top), highest)
    return min(lowest, 1.0), top


def _from_quantities(quantities: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.where(quantities > 0, quantities, np.float32(1))
    return np.maximum(1 + np.float32(QUANTITY_DAMPING) * np.log(known), 0)

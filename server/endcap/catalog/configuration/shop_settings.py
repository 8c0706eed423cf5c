"""The settings of a shop: what holds for all that it sells and for all that people do there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from endcap.catalog.configuration.attribute_definitions import MAX_DEFINITIONS, AttributeTypes
from endcap.catalog.fields.attributes import is_attribute_name
from endcap.catalog.fields.checks import CURRENCY, EVENT_TYPE, check_language
from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import InvalidInput


MAX_EVENT_AGE_DAYS = 30
"""Age of the oldest event that a shop takes from a caller, unless it says otherwise."""

MAX_EVENT_WEIGHT = 1_000.0
"""The largest weight of an event, up or down."""

MAX_EVENT_TYPES = 64
"""Event types that a shop can describe; others are stored too, and weigh nothing."""

MAX_LANGUAGES = 32
"""Languages that a shop can name."""

LONGEST_AGE_DAYS = 36_500
"""The longest time that a shop can set."""


class EventRole(StrEnum):
    """What an event of a type means, whatever the shop calls it."""

    OTHER = "other"
    VIEW = "view"
    CART = "cart"
    PURCHASE = "purchase"
    REFUND = "refund"
    SEARCH = "search"
    RATING = "rating"


class ValueRule(StrEnum):
    """How the value of an event counts."""

    NONE = "none"
    """It has none."""

    PRICE_TIMES_QUANTITY = "price_times_quantity"
    """The price times the quantity, both as the event has them."""

    VALUE = "value"
    """The event's own ``value``."""


@dataclass(frozen=True, slots=True)
class EventType:
    """What an event of one type is to a shop."""

    weight: float = 0.0
    """What it says about taste; below 0 it speaks against the item, 0 says nothing."""

    role: EventRole = EventRole.OTHER
    value_rule: ValueRule = ValueRule.NONE


_ROLES: Mapping[str, tuple[EventRole, ValueRule]] = MappingProxyType(
    {
        "view": (EventRole.VIEW, ValueRule.NONE),
        "click": (EventRole.VIEW, ValueRule.NONE),
        "add_to_cart": (EventRole.CART, ValueRule.NONE),
        "purchase": (EventRole.PURCHASE, ValueRule.PRICE_TIMES_QUANTITY),
        "refund": (EventRole.REFUND, ValueRule.PRICE_TIMES_QUANTITY),
        "search": (EventRole.SEARCH, ValueRule.NONE),
        "rating": (EventRole.RATING, ValueRule.VALUE),
    }
)
"""Role and value rule of the types whose names say them."""


def event_type_named(name: str, weight: float) -> EventType:
    """Return an event type of a weight, with the role and the value rule that its name says."""
    return EventType(weight, *_ROLES.get(name, ()))


DEFAULT_EVENT_TYPES: Mapping[str, EventType] = MappingProxyType(
    {name: event_type_named(name, weight) for name, weight in EVENT_WEIGHTS.items()}
)
"""The event types of a new shop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopSettings:
    """What somebody may set of a shop."""

    currency: str = ""
    """ISO 4217 code that prices are compared and reported in; empty when not said."""

    languages: tuple[str, ...] = ()
    """BCP 47 tags of the languages that the shop speaks, its own first; empty when not said."""

    event_types: Mapping[str, EventType] = field(default_factory=lambda: DEFAULT_EVENT_TYPES)
    """By name; an event of another type is stored and counts for nothing."""

    attributes: AttributeTypes = field(default_factory=dict)
    """The type of each attribute of items, by name; the first value of another one defines it."""

    max_event_age_days: int = MAX_EVENT_AGE_DAYS
    """Age of the oldest event that is taken from a caller; an import takes older ones."""

    keep_events_days: int = 0
    """Days that events are kept; 0 for ever."""

    keep_exposures_days: int = 0
    """Days that exposures are kept; 0 for ever."""

    @property
    def event_weights(self) -> dict[str, float]:
        """The weight of each event type; an absent type weighs nothing."""
        return {name: event_type.weight for name, event_type in self.event_types.items()}

    @property
    def etag(self) -> str:
        """Names the settings; what a shop holds does not change it, but for attributes that values define."""
        content = [settings_to_json(self), self.currency, dict(sorted(self.attributes.items()))]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check_settings(settings: ShopSettings) -> None:
    """Refuse settings that a shop cannot have.

    Raises:
        InvalidInput: A setting is out of its range; ``field`` is its name in the contract.
    """
    if settings.currency and not CURRENCY.fullmatch(settings.currency):
        raise InvalidInput("currency must be an ISO 4217 code, such as EUR", field="currency_code")
    _check_languages(settings.languages)
    _check_event_types(settings.event_types)
    _check_attributes(settings.attributes)
    if not 1 <= settings.max_event_age_days <= LONGEST_AGE_DAYS:
        raise InvalidInput(
            f"max_event_age_days must be from 1 to {LONGEST_AGE_DAYS}", field="max_event_age_days"
        )
    for name in ("keep_events_days", "keep_exposures_days"):
        if not 0 <= getattr(settings, name) <= LONGEST_AGE_DAYS:
            raise InvalidInput(f"{name} must be from 0, which is for ever, to {LONGEST_AGE_DAYS}", field=name)
    if 0 < settings.keep_events_days < settings.max_event_age_days:
        # One that was deleted, and is sent again, would be taken for a new one.
        raise InvalidInput(
            "keep_events_days must not be less than max_event_age_days: keep events for longer, or take only"
            " younger ones",
            field="keep_events_days",
        )


def settings_to_json(settings: ShopSettings) -> dict[str, Any]:
    """Return settings as JSON values, but for the currency and the attributes, which are stored apart."""
    return {
        "languages": list(settings.languages),
        "event_types": {
            name: {"weight": each.weight, "role": each.role.value, "value_rule": each.value_rule.value}
            for name, each in settings.event_types.items()
        },
        "max_event_age_days": settings.max_event_age_days,
        "keep_events_days": settings.keep_events_days,
        "keep_exposures_days": settings.keep_exposures_days,
    }


def settings_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of ``ShopSettings`` that ``settings_to_json`` made JSON of, by name."""
    return {
        "languages": tuple(stored.get("languages", ())),
        "event_types": {
            name: EventType(each["weight"], EventRole(each["role"]), ValueRule(each["value_rule"]))
            for name, each in stored.get("event_types", {}).items()
        },
        "max_event_age_days": stored.get("max_event_age_days", MAX_EVENT_AGE_DAYS),
        "keep_events_days": stored.get("keep_events_days", 0),
        "keep_exposures_days": stored.get("keep_exposures_days", 0),
    }


def _check_languages(languages: tuple[str, ...]) -> None:
    name = "language_codes"
    if len(languages) > MAX_LANGUAGES:
        raise InvalidInput(f"a shop has at most {MAX_LANGUAGES} languages", field=name)
    if len(set(languages)) < len(languages):
        raise InvalidInput("each language must be named once", field=name)
    for index, language in enumerate(languages):
        path = f"{name}[{index}]"
        if not language:
            raise InvalidInput(f"{path} must be a BCP 47 tag, such as en-GB", field=path)
        check_language(language, path=path)


def _check_event_types(event_types: Mapping[str, EventType]) -> None:
    if len(event_types) > MAX_EVENT_TYPES:
        raise InvalidInput(f"a shop describes at most {MAX_EVENT_TYPES} event types", field="event_types")
    for name, event_type in event_types.items():
        if not EVENT_TYPE.fullmatch(name):
            raise InvalidInput(
                f"{name!r} is no event type: write 1 to 64 of a-z, 0-9 and _", field="event_types"
            )
        if not -MAX_EVENT_WEIGHT <= event_type.weight <= MAX_EVENT_WEIGHT:  # as is no comparison with NaN
            raise InvalidInput(
                f"the weight of {name} must be from {-MAX_EVENT_WEIGHT:g} to {MAX_EVENT_WEIGHT:g}",
                field="event_types",
            )


def _check_attributes(types: AttributeTypes) -> None:
    if len(types) > MAX_DEFINITIONS:
        raise InvalidInput(f"a shop defines at most {MAX_DEFINITIONS} attributes", field="attributes")
    for name in types:
        if not is_attribute_name(name):
            raise InvalidInput(
                f"{name!r} is no name of an attribute: write 1 to 64 of a-z, 0-9 and _, a letter first",
                field="attributes",
            )

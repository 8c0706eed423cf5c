"""The settings of a shop, which apply to all of its items and events."""

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
"""The default of the greatest age, in days, of an event that a shop accepts from a caller."""

MAX_EVENT_WEIGHT = 1_000.0
"""The largest absolute weight of an event."""

MAX_EVENT_TYPES = 64
"""Event types that a shop can describe; events of other types are stored too, with weight 0."""

MAX_LANGUAGES = 32
"""Languages that a shop can name."""

LONGEST_AGE_DAYS = 36_500
"""The greatest number of days that a shop can set."""


class EventRole(StrEnum):
    """The meaning of an event type, whatever the shop calls the type."""

    OTHER = "other"
    VIEW = "view"
    CART = "cart"
    PURCHASE = "purchase"
    REFUND = "refund"
    SEARCH = "search"
    RATING = "rating"
    SESSION = "session"


class ValueRule(StrEnum):
    """How the value of an event counts."""

    NONE = "none"
    """The event has no value."""

    PRICE_TIMES_QUANTITY = "price_times_quantity"
    """The event's price times its quantity."""

    VALUE = "value"
    """The event's own ``value``."""


@dataclass(frozen=True, slots=True)
class EventType:
    """A shop's settings of one event type."""

    weight: float = 0.0
    """Weight as evidence of taste: above 0 for the item, below 0 against it, 0 for no evidence."""

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
"""Role and value rule of the event types with a standard name."""


def event_type_named(name: str, weight: float) -> EventType:
    """Return an event type of a weight, with the role and the value rule that belong to its name."""
    return EventType(weight, *_ROLES.get(name, ()))


DEFAULT_EVENT_TYPES: Mapping[str, EventType] = MappingProxyType(
    {name: event_type_named(name, weight) for name, weight in EVENT_WEIGHTS.items()}
)
"""The event types of a new shop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopSettings:
    """The settings of a shop that can be changed."""

    currency: str = ""
    """ISO 4217 code that prices are compared and reported in; empty if unknown."""

    languages: tuple[str, ...] = ()
    """BCP 47 tags of the languages of the shop, the main one first; empty if unknown."""

    event_types: Mapping[str, EventType] = field(default_factory=lambda: DEFAULT_EVENT_TYPES)
    """Event types by name; an event of another type is stored with weight 0."""

    attributes: AttributeTypes = field(default_factory=dict)
    """The type of each attribute of items, by name; the first value of a new attribute defines its type."""

    max_event_age_days: int = MAX_EVENT_AGE_DAYS
    """The greatest age of an event that is accepted from a caller; an import accepts older events."""

    keep_events_days: int = 0
    """Days that events are kept; 0 keeps them for ever."""

    keep_exposures_days: int = 0
    """Days that exposures are kept; 0 keeps them for ever."""

    @property
    def event_weights(self) -> dict[str, float]:
        """The weight of each event type: none of an absent type, and none above 0 of a refund."""
        return {
            name: min(0.0, each.weight) if each.role is EventRole.REFUND else each.weight
            for name, each in self.event_types.items()
        }

    def role_of(self, event_type: str) -> EventRole:
        """Return the role of an event type; a type that the shop does not describe has that of its name."""
        return (self.event_types.get(event_type) or event_type_named(event_type, 0)).role

    def needs_item(self, event_type: str) -> bool:
        """Return whether events of a type must have an item."""
        return self.role_of(event_type) not in {EventRole.SEARCH, EventRole.SESSION}

    def types_of(self, role: EventRole) -> list[str]:
        """Return the event types of a role, including one that only its name describes."""
        return [name for name in {**self.event_types, **_ROLES} if self.role_of(name) is role]

    @property
    def etag(self) -> str:
        """Identifies the settings. Items and events keep it, except values that define an attribute."""
        content = [settings_to_json(self), self.currency, dict(sorted(self.attributes.items()))]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check_settings(settings: ShopSettings) -> None:
    """Reject invalid settings of a shop.

    Raises:
        InvalidInput: A setting is out of its range; ``field`` is the name of the setting in the API.
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
            raise InvalidInput(f"{name} must be from 0 (keep for ever) to {LONGEST_AGE_DAYS}", field=name)
    if 0 < settings.keep_events_days < settings.max_event_age_days:
        # An event that was deleted and is sent again would be accepted as a new event.
        raise InvalidInput(
            "keep_events_days must not be less than max_event_age_days: keep events for longer, or"
            " accept only younger events",
            field="keep_events_days",
        )


def settings_to_json(settings: ShopSettings) -> dict[str, Any]:
    """Return settings as JSON values, except the currency and the attributes, which are stored apart."""
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
    """Return the values of ``ShopSettings`` that ``settings_to_json`` encoded, by name."""
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
                f"{name!r} is not an event type: write 1 to 64 of a-z, 0-9 and _", field="event_types"
            )
        if (
            not -MAX_EVENT_WEIGHT <= event_type.weight <= MAX_EVENT_WEIGHT
        ):  # rejects NaN too, which compares as false
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
                f"{name!r} is not a name of an attribute: write 1 to 64 of a-z, 0-9 and _, a letter first",
                field="attributes",
            )

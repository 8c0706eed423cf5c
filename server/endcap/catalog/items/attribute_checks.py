"""Checks of attributes: a value of another type than its attribute has rejects the item that gives it."""

from collections.abc import Mapping
from dataclasses import dataclass

from endcap.catalog.configuration.attribute_definitions import (
    MAX_DEFINITIONS,
    AttributeType,
    type_of,
)
from endcap.catalog.fields.attributes import AttributeValue, Moment
from endcap.sdk.errors import InvalidInput


_SHOWN = 40  # characters of a value in a message

_NOUNS: Mapping[AttributeType, str] = {
    AttributeType.TEXT: "a text",
    AttributeType.NUMBER: "a number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.TIME: "a time",
    AttributeType.TEXTS: "a list of texts",
}


class AttributeRejected(InvalidInput):
    """An item has an attribute that the definitions of its shop do not allow."""

    def __init__(self, rule: str, complaint: str, *, field: str) -> None:
        super().__init__(f"{rule}: {complaint}", field=field)
        self.rule = rule
        """The rule that it breaks: one of few sentences, by which rejected rows can be counted."""
        self.complaint = complaint
        """The item and the value that it gives."""


@dataclass(frozen=True, slots=True)
class AttributeChecker:
    """Checks the items of one write, in their order, against the definitions and against each other."""

    types: dict[str, AttributeType]
    """Those that are defined, by name; the ones that a write defines are added."""

    def check(
        self, item_id: str, attributes: Mapping[str, AttributeValue], stored: Mapping[str, AttributeValue]
    ) -> None:
        """Check the attributes that a write changes; its first value of a new attribute defines the type.

        Args:
            item_id: The item's id, for the message.
            attributes: As they become.
            stored: As they are; what is not changed is not looked at.

        Raises:
            AttributeRejected: A value is of another type than its attribute, or the shop would have more than
                ``MAX_DEFINITIONS`` attributes. The item then defines nothing.
        """
        new = {}
        for name, value in attributes.items():
            given, defined = type_of(value), self.types.get(name)
            if defined is None:
                new[name] = given
            elif given is not defined and stored.get(name) != value:
                raise AttributeRejected(
                    f"attributes.{name} is {_NOUNS[defined]}",
                    f"item {item_id!r} gives {_NOUNS[given]}, {_shown(value)}",
                    field=f"attributes.{name}",
                )
        if new and len(self.types) + len(new) > MAX_DEFINITIONS:
            name = next(iter(new))
            raise AttributeRejected(
                f"the shop has {MAX_DEFINITIONS} attributes, the most it can have",
                f"item {item_id!r} gives another one, {name}",
                field=f"attributes.{name}",
            )
        self.types.update(new)


def _shown(value: AttributeValue) -> str:
    text = repr(int(value)) if isinstance(value, Moment) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

"""Attribute definitions: the one type that each attribute of a shop's items has.

An attribute is declared beforehand, or by the first value that is ever stored under its name. The transaction
that stores the value decides the type; it holds the shop's row, so every process finds the same type. A value
of another type is rejected when it is written. A value of another type that was stored before the type was
declared or changed stays stored but does not count: filters, caps and snapshots ignore it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeAlias, TypeVar

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import ATTRIBUTES
from endcap.catalog.fields.attributes import AttributeValue, Moment
from endcap.sdk.errors import InvalidInput


MAX_DEFINITIONS = 1_000
"""The largest number of attributes of a shop: each attribute is a column of every view."""

_SHOWN = 40  # characters of a value in a message


class AttributeType(StrEnum):
    """The type of the values of an attribute."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"

    TIME = "time"
    """A moment."""

    TEXTS = "texts"
    """A list of texts."""


AttributeTypes: TypeAlias = Mapping[str, AttributeType]
"""Types of attributes by name."""

_NOUNS: Mapping[AttributeType, str] = {
    AttributeType.TEXT: "a text",
    AttributeType.NUMBER: "a number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.TIME: "a time",
    AttributeType.TEXTS: "a list of texts",
}

_Value = TypeVar("_Value", bound=AttributeValue)


class AttributeRejected(InvalidInput):
    """An item has an attribute that the definitions of its shop do not allow."""

    def __init__(self, rule: str, complaint: str, *, field: str) -> None:
        super().__init__(f"{rule}: {complaint}", field=field)
        self.rule = rule
        """The rule that the item breaks: one of few sentences, so that rejected rows can be counted by it."""
        self.complaint = complaint
        """The item and the value that breaks the rule."""


def type_of(value: AttributeValue) -> AttributeType:
    """Return the type that a value has."""
    match value:
        case str():
            return AttributeType.TEXT
        case bool():
            return AttributeType.BOOLEAN
        case Moment():
            return AttributeType.TIME
        case int() | float():
            return AttributeType.NUMBER
        case _:
            return AttributeType.TEXTS


def counting(attributes: Mapping[str, _Value], types: AttributeTypes) -> dict[str, _Value]:
    """Return the attributes that count: their values have the defined type."""
    return {name: value for name, value in attributes.items() if types.get(name) is type_of(value)}


class AttributeChecker:
    """Checks the items of one write in order, against the definitions and against each other."""

    def __init__(self, types: AttributeTypes) -> None:
        """Start from the types that are defined already."""
        self._types = dict(types)

    def check(
        self, item_id: str, attributes: Mapping[str, AttributeValue], stored: Mapping[str, AttributeValue]
    ) -> None:
        """Check the attributes that a write changes; its first value of a new attribute defines the type.

        Args:
            item_id: The item's id, for the message.
            attributes: The item's attributes after the write.
            stored: The item's attributes before the write; unchanged values are not checked.

        Raises:
            AttributeRejected: A value has another type than its attribute, or the shop would have more than
                ``MAX_DEFINITIONS`` attributes. The item then defines no attribute.
        """
        new = {}
        for name, value in attributes.items():
            given, defined = type_of(value), self._types.get(name)
            if defined is None:
                new[name] = given
            elif given is not defined and stored.get(name) != value:
                raise AttributeRejected(
                    f"attributes.{name} is {_NOUNS[defined]}",
                    f"item {item_id!r} gives {_NOUNS[given]}, {_shown(value)}",
                    field=f"attributes.{name}",
                )
        if new and len(self._types) + len(new) > MAX_DEFINITIONS:
            name = next(iter(new))
            raise AttributeRejected(
                f"the shop has {MAX_DEFINITIONS} attributes, the most it can have",
                f"item {item_id!r} gives another one, {name}",
                field=f"attributes.{name}",
            )
        self._types |= new


async def read_attribute_types(*, connection: AsyncConnection, shop: str) -> dict[str, AttributeType]:
    """Return the types of a shop's attributes by name, in the order of the names."""
    return (await read_types_of_shops(connection=connection, shops=(shop,))).get(shop, {})


async def read_types_of_shops(
    *, connection: AsyncConnection, shops: Iterable[str]
) -> dict[str, dict[str, AttributeType]]:
    """Return the types of attributes by shop; shops without attributes are left out."""
    query = (
        select(ATTRIBUTES.c.shop, ATTRIBUTES.c.name, ATTRIBUTES.c.type)
        .where(ATTRIBUTES.c.shop.in_(list(shops)))
        .order_by(ATTRIBUTES.c.shop, ATTRIBUTES.c.name)
    )
    found: dict[str, dict[str, AttributeType]] = {}
    for shop, name, type_ in await connection.execute(query):
        found.setdefault(shop, {})[name] = AttributeType(type_)
    return found


async def define_attributes(
    *, connection: AsyncConnection, shop: str, items: Iterable[Mapping[str, AttributeValue]]
) -> None:
    """Define each attribute that is not defined yet by its first value.

    Args:
        connection: A connection that holds the shop's revision, so that nobody else defines attributes
            meanwhile.
        shop: The shop's id.
        items: The attributes of each item that is stored, in the order of the items.
    """
    first: dict[str, AttributeType] = {}
    for attributes in items:
        for name, value in attributes.items():
            if name not in first:
                first[name] = type_of(value)
    if not first:
        return
    known = await read_attribute_types(connection=connection, shop=shop)
    new = {name: type_ for name, type_ in first.items() if name not in known}
    await _insert(connection, shop, new)


async def replace_definitions(*, connection: AsyncConnection, shop: str, types: AttributeTypes) -> None:
    """Give a shop these definitions and no others.

    Args:
        connection: A connection that holds the shop's revision.
        shop: The shop's id.
        types: The types of attributes, by name.
    """
    await connection.execute(delete(ATTRIBUTES).where(ATTRIBUTES.c.shop == shop))
    await _insert(connection, shop, types)


async def _insert(connection: AsyncConnection, shop: str, types: AttributeTypes) -> None:
    if types:
        rows = [{"shop": shop, "name": name, "type": type_.value} for name, type_ in types.items()]
        await connection.execute(insert(ATTRIBUTES), rows)


def _shown(value: AttributeValue) -> str:
    text = repr(int(value)) if isinstance(value, Moment) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

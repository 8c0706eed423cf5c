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


MAX_DEFINITIONS = 1_000
"""The largest number of attributes of a shop: each attribute is a column of every view."""


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

_Value = TypeVar("_Value", bound=AttributeValue)


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

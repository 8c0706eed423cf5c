"""Shops."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.configuration.attribute_definitions import AttributeType
from endcap.catalog.configuration.shop_settings import (
    DEFAULT_EVENT_TYPES,
    MAX_EVENT_AGE_DAYS,
    EventRole,
    EventType,
    ShopSettings,
    ValueRule,
    event_type_named,
)
from endcap.catalog.configuration.shops import ShopRecord
from endcap.catalog.fields.limits import check_limit
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.fields import Fields
from endcap.server.api.convert.selections import copy_field
from endcap.v1 import shop_pb2


_Named = TypeVar("_Named", shop_pb2.EventType, shop_pb2.AttributeDefinition)

_PATH = "shop"
"""Where a shop is in every request that carries one."""

_WRITTEN = (
    "currency_code",
    "language_codes",
    "event_types",
    "attributes",
    "max_event_age_days",
    "keep_events_days",
    "keep_exposures_days",
)
_IGNORED = ("id", "create_time", "revision", "etag")


def read_new_shop(message: shop_pb2.Shop) -> ShopSettings:
    """Read the settings of a shop that is created: without event types, it gets the default ones.

    Raises:
        InvalidInput: An enumeration or a name is invalid. Ranges are checked when the settings are stored.
    """
    return _read(message, event_types=None if message.event_types else DEFAULT_EVENT_TYPES)


def read_update(stored: ShopSettings, message: shop_pb2.Shop, mask: FieldMask | None) -> ShopSettings:
    """Read the settings that a stored shop gets.

    Args:
        stored: The stored settings, which stay where the mask does not name them.
        message: The new values of the settings that the mask names.
        mask: Names of fields, such as ``event_types``; None for all of them.

    Raises:
        InvalidInput: A path names no writable field of shops, or ``read_new_shop`` would raise it.
    """
    if mask is None:
        return _read(message)
    check_limit("update_mask", mask.paths)
    merged = _write_settings(stored)
    for path in mask.paths:
        if path in _IGNORED:
            continue
        if path not in _WRITTEN:
            raise InvalidInput(
                f"update_mask has the path {path!r}; use {', '.join(_WRITTEN)}", field="update_mask"
            )
        copy_field([path], message, merged)
    return _read(merged)


def write_shop(shop: ShopRecord) -> shop_pb2.Shop:
    """Write a shop; one that is not stored has no etag."""
    message = _write_settings(shop)
    message.id = shop.id
    message.revision = shop.revision
    message.etag = shop.etag if shop.revision else ""
    message.create_time.FromMilliseconds(shop.created_time)
    return message


def _read(message: shop_pb2.Shop, *, event_types: Any = None) -> ShopSettings:
    fields = Fields(message, _PATH)
    return ShopSettings(
        currency=message.currency_code,
        languages=tuple(message.language_codes),
        event_types=_read_event_types(message.event_types, fields) if event_types is None else event_types,
        attributes={
            each.name: named.choice("type", AttributeType)
            for each, named in _named_once(message.attributes, fields.path_of("attributes"))
        },
        max_event_age_days=message.max_event_age_days or MAX_EVENT_AGE_DAYS,
        keep_events_days=message.keep_events_days,
        keep_exposures_days=message.keep_exposures_days,
    )


def _read_event_types(messages: Sequence[shop_pb2.EventType], fields: Fields) -> dict[str, EventType]:
    found: dict[str, EventType] = {}
    for message, each in _named_once(messages, fields.path_of("event_types")):
        named = event_type_named(message.name, message.weight)
        found[message.name] = EventType(
            message.weight,
            each.choice("role", EventRole, default=named.role),
            each.choice("value_rule", ValueRule, default=named.value_rule),
        )
    return found


def _named_once(messages: Sequence[_Named], path: str) -> Iterator[tuple[_Named, Fields]]:
    names: set[str] = set()
    for index, message in enumerate(messages):
        fields = Fields(message, f"{path}[{index}]")
        if message.name in names:
            raise fields.rejection("name", f"is {message.name!r} once more: list each name once")
        names.add(message.name)
        yield message, fields


def _write_settings(settings: ShopSettings) -> shop_pb2.Shop:
    return shop_pb2.Shop(
        currency_code=settings.currency,
        language_codes=settings.languages,
        event_types=[
            shop_pb2.EventType(
                name=name,
                weight=each.weight,
                role=shop_pb2.EventRole.Value(f"EVENT_ROLE_{each.role.name}"),
                value_rule=shop_pb2.EventValueRule.Value(f"EVENT_VALUE_RULE_{each.value_rule.name}"),
            )
            for name, each in settings.event_types.items()
        ],
        attributes=[
            shop_pb2.AttributeDefinition(
                name=name, type=shop_pb2.AttributeType.Value(f"ATTRIBUTE_TYPE_{type_.name}")
            )
            for name, type_ in settings.attributes.items()
        ],
        max_event_age_days=settings.max_event_age_days,
        keep_events_days=settings.keep_events_days,
        keep_exposures_days=settings.keep_exposures_days,
    )

"""Items."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.fields.checks import check_image_uris, check_localized_texts
from endcap.catalog.fields.limits import check_id, check_limit
from endcap.catalog.items.entry_changes import Change
from endcap.catalog.items.items import Availability, Item
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.attributes import read_named_attributes, write_attribute
from endcap.server.api.convert.entries import Readers, read_labels, read_language, read_values
from endcap.server.api.convert.fields import Fields, write_time
from endcap.server.api.convert.money import read_money, write_money
from endcap.server.api.convert.selections import Selection, read_selection
from endcap.v1 import item_pb2, money_pb2


_AMOUNTS = ("price", "original_price", "cost")
_IGNORED = ("id", "update_time", "etag")


def item_reader(mask: FieldMask | None) -> Callable[[item_pb2.Item, int], Change]:
    """Return a function that reads the items of a write, of the fields that it names.

    The reader takes an item as sent, whose output-only fields are ignored, and the time in Unix
    milliseconds. It raises ``InvalidInput`` where a field is missing, too long or out of range, and names the
    field as from the item on.

    Args:
        mask: The fields to write; None for all.

    Raises:
        InvalidInput: A path of the mask names no writable field of items.
    """
    selection = read_selection(
        mask, fields=(*_READERS, *_AMOUNTS, "create_time"), maps=_MAPS, ignored=_IGNORED
    )
    return partial(_read, selection)


def write_item(value: Item, *, currency: str, fields: Iterable[str] | None = None) -> item_pb2.Item:
    """Write an item for a shop front: everything but its cost.

    Args:
        value: The item.
        currency: The shop's, for items that name none.
        fields: The only fields to write; None for all.
    """
    names = _WRITERS if fields is None else fields
    return item_pb2.Item(**{name: _WRITERS[name](value, currency) for name in names})


def _read(selection: Selection, message: item_pb2.Item, now: int) -> Change:
    check_id("item_id", message.id, path="id")
    check_limit("etag", message.etag)
    fields = Fields(message, "")
    values = read_values(fields, selection, _READERS, now=now) | _amounts(message, selection.fields)
    entries = {
        name: dict.fromkeys(keys) | _MAPS[name](fields, keys) for name, keys in selection.entries.items()
    }
    return Change(message.id, values, entries, message.etag)


def _localized_texts(fields: Fields, names: frozenset[str] | None = None) -> dict[str, dict[str, str]]:
    messages = fields.message.localized_texts  # type: ignore[attr-defined]
    check_limit("localized_texts", messages)
    chosen = messages.keys() if names is None else names & messages.keys()
    texts = {
        language: {
            name: text for name in ("title", "description") if (text := getattr(messages[language], name))
        }
        for language in chosen
    }
    check_localized_texts(texts)
    return texts


def _image_uris(fields: Fields) -> tuple[str, ...]:
    addresses = read_labels(fields, "image_uris")
    check_image_uris(addresses)
    return addresses


def _amounts(message: item_pb2.Item, names: Collection[str]) -> dict[str, Any]:
    """Read the amounts that are written, and their one currency; those that are not set are taken away."""
    values: dict[str, Any] = {}
    first = ""
    for name in _AMOUNTS:
        if name not in names:
            continue
        values[f"{name}_nanos"] = None
        if not message.HasField(name):  # type: ignore[arg-type]
            continue
        amount, path = read_money(getattr(message, name), field=name), f"{name}.currency_code"
        if not amount.currency:
            raise InvalidInput(f"{path} is required: write an ISO 4217 code, such as EUR", field=path)
        first = first or name
        if amount.currency != values.setdefault("currency", amount.currency):
            raise InvalidInput(f"{path} must be that of {first}, {values['currency']!r}", field=path)
        values[f"{name}_nanos"] = amount.nanos
    return values


_READERS: Readers = MappingProxyType(
    {
        "group_id": lambda fields: fields.optional_text("group_id"),
        "title": lambda fields: fields.free_text("title"),
        "description": lambda fields: fields.free_text("description"),
        "language_code": read_language,
        "localized_texts": _localized_texts,
        "categories": lambda fields: read_labels(fields, "categories"),
        "brand": lambda fields: fields.free_text("brand"),
        "tags": lambda fields: read_labels(fields, "tags"),
        "attributes": read_named_attributes,
        "image_uris": _image_uris,
        "availability": lambda fields: fields.choice(
            "availability", Availability, default=Availability.IN_STOCK
        ),
        "available_time": lambda fields: fields.time("available_time"),
        "expire_time": lambda fields: fields.time("expire_time"),
    }
)
"""Of every field that can be written but the amounts and the time that the item was created."""

_MAPS: Mapping[str, Callable[[Fields, frozenset[str]], dict[str, Any]]] = MappingProxyType(
    {"attributes": read_named_attributes, "localized_texts": _localized_texts}
)
"""Readers of the fields whose entries can be written one by one, given the names of the entries."""


def _write_money(nanos: int | None, item: Item, currency: str) -> money_pb2.Money | None:
    return None if nanos is None else write_money(nanos, item.currency or currency)


_WRITERS: Mapping[str, Callable[[Item, str], Any]] = MappingProxyType(
    {
        "id": lambda item, _: item.id,
        "group_id": lambda item, _: item.group_id,
        "title": lambda item, _: item.title,
        "description": lambda item, _: item.description,
        "language_code": lambda item, _: item.language_code,
        "localized_texts": lambda item, _: {
            language: item_pb2.ItemText(**texts) for language, texts in item.localized_texts.items()
        },
        "categories": lambda item, _: item.categories,
        "brand": lambda item, _: item.brand,
        "tags": lambda item, _: item.tags,
        "attributes": lambda item, _: {
            name: write_attribute(value) for name, value in item.attributes.items()
        },
        "price": lambda item, currency: _write_money(item.price_nanos, item, currency),
        "original_price": lambda item, currency: _write_money(item.original_price_nanos, item, currency),
        "image_uris": lambda item, _: item.image_uris,
        "availability": lambda item, _: f"AVAILABILITY_{item.availability.name}",
        "available_time": lambda item, _: write_time(item.available_time),
        "expire_time": lambda item, _: write_time(item.expire_time),
        "create_time": lambda item, _: write_time(item.created_time),
        "update_time": lambda item, _: write_time(item.updated_time),
        "etag": lambda item, _: item.etag,
    }
)
"""Of every field but the cost, given the item and the shop's currency."""

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "price": ("price_nanos", "currency"),
        "original_price": ("original_price_nanos", "currency"),
        "create_time": ("created_time",),
        "update_time": ("updated_time",),
        "etag": ("revision",),
    }
)
"""The names in ``Item`` of what a field is written from, for the fields that have other names there."""

"""Items."""

from collections.abc import Callable, Collection
from functools import partial
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.entry_changes import Change
from endcap.catalog.field_rules import check_image_uris, check_localized_texts
from endcap.catalog.fields.limits import check_id, check_limit, check_text
from endcap.catalog.items import Availability, Item
from endcap.sdk.errors import InvalidInput
from endcap.server.convert.attributes import read_named_attributes, write_attribute
from endcap.server.convert.entries import Readers, read_labels, read_language, read_values
from endcap.server.convert.fields import Fields
from endcap.server.convert.money import read_money, write_money
from endcap.server.convert.selections import Selection, read_selection
from endcap.v1 import item_pb2


_AMOUNTS = ("price", "original_price", "cost")
_MAPS = ("attributes", "localized_texts")
_IGNORED = ("id", "update_time", "etag")


def item_reader(mask: FieldMask | None) -> Callable[[item_pb2.Item, int], Change]:
    """Return what reads the items of a write; what the write does not name is not looked at.

    The reader takes an item as it came, of which what is output only is ignored, and the time in Unix
    milliseconds. It raises ``InvalidInput`` where a field is missing, too long or out of range, and names the
    field as from the item on.

    Args:
        mask: The fields to write; None for all.

    Raises:
        InvalidInput: A path is none of a field of items that can be written.
    """
    selection = read_selection(
        mask, fields=(*_READERS, *_AMOUNTS, "create_time"), maps=_MAPS, ignored=_IGNORED
    )
    return partial(_read, selection)


def write_item(value: Item, *, currency: str) -> item_pb2.Item:
    """Write an item for a shop front: everything but its cost.

    Args:
        value: The item.
        currency: The shop's, for items that name none.
    """
    message = item_pb2.Item(
        id=value.id,
        group_id=value.group_id,
        title=value.title,
        description=value.description,
        language_code=value.language_code,
        localized_texts={
            language: item_pb2.ItemText(**texts) for language, texts in value.localized_texts.items()
        },
        categories=value.categories,
        brand=value.brand,
        tags=value.tags,
        attributes={name: write_attribute(each) for name, each in value.attributes.items()},
        image_uris=value.image_uris,
        availability=item_pb2.Availability.Value(f"AVAILABILITY_{value.availability.name}"),
        etag=value.etag,
    )
    for field, nanos in (("price", value.price_nanos), ("original_price", value.original_price_nanos)):
        if nanos is not None:
            getattr(message, field).CopyFrom(write_money(nanos, value.currency or currency))
    for field, time in (
        ("available_time", value.available_time),
        ("expire_time", value.expire_time),
        ("create_time", value.created_time),
        ("update_time", value.updated_time),
    ):
        if time is not None:
            getattr(message, field).FromMilliseconds(time)
    return message


def _read(selection: Selection, message: item_pb2.Item, now: int) -> Change:
    check_id("item_id", message.id, path="id")
    check_limit("etag", message.etag)
    fields = Fields(message, "")
    values = read_values(fields, selection, _READERS, now=now) | _amounts(message, selection.fields)
    entries: dict[str, dict[str, Any]] = {
        name: dict.fromkeys(keys) for name, keys in selection.entries.items()
    }
    if "attributes" in entries:
        entries["attributes"].update(read_named_attributes(fields, selection.entries["attributes"]))
    if "localized_texts" in entries:
        entries["localized_texts"].update(_localized_texts(fields, selection.entries["localized_texts"]))
    return Change(message.id, values, entries, message.etag)


def _text(name: str) -> Callable[[Fields], str]:
    def read(fields: Fields) -> str:
        text: str = getattr(fields.message, name)
        check_text(name, text)
        return text

    return read


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
        "title": _text("title"),
        "description": _text("description"),
        "language_code": read_language,
        "localized_texts": _localized_texts,
        "categories": lambda fields: read_labels(fields, "categories"),
        "brand": _text("brand"),
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

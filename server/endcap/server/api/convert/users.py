"""Users."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.fields.limits import check_id, check_limit
from endcap.catalog.items.entry_changes import Change
from endcap.catalog.people.user_records import UserRecord
from endcap.server.api.convert.attributes import read_named_attributes, write_attribute
from endcap.server.api.convert.entries import Readers, read_labels, read_language, read_values
from endcap.server.api.convert.fields import Fields, write_time
from endcap.server.api.convert.selections import Selection, read_selection
from endcap.v1 import user_pb2


_MAPS = ("attributes",)
_IGNORED = ("id", "visitor_ids", "update_time", "etag")


def user_reader(mask: FieldMask | None) -> Callable[[user_pb2.User, int], Change]:
    """Return a function that reads the users of a write, as ``item_reader`` does items.

    Args:
        mask: The fields to write; None for all.

    Raises:
        InvalidInput: A path of the mask names no writable field of users.
    """
    selection = read_selection(mask, fields=(*_READERS, "create_time"), maps=_MAPS, ignored=_IGNORED)
    return partial(_read, selection)


def write_user(value: UserRecord) -> user_pb2.User:
    """Write a user."""
    return user_pb2.User(
        id=value.id,
        tags=value.tags,
        attributes={name: write_attribute(each) for name, each in value.attributes.items()},
        language_code=value.language_code,
        visitor_ids=value.visitor_ids,
        create_time=write_time(value.created_time),
        update_time=write_time(value.updated_time),
        etag=value.etag,
    )


def _read(selection: Selection, message: user_pb2.User, now: int) -> Change:
    check_id("user_id", message.id, path="id")
    check_limit("etag", message.etag)
    fields = Fields(message, "")
    values = read_values(fields, selection, _READERS, now=now)
    entries = {
        name: dict.fromkeys(keys) | read_named_attributes(fields, keys)
        for name, keys in selection.entries.items()
    }
    return Change(message.id, values, entries, message.etag)


_READERS: Readers = MappingProxyType(
    {
        "tags": lambda fields: read_labels(fields, "tags"),
        "attributes": read_named_attributes,
        "language_code": read_language,
    }
)
"""Of every field that can be written but the time that the user was created."""

"""Users."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.user_records import UserRecord
from endcap.server.convert.attributes import read_named_attributes, write_attribute
from endcap.server.convert.fields import Fields
from endcap.server.convert.items import read_create_time, read_labels, read_language
from endcap.server.convert.selections import Selection, merge_entries, read_selection
from endcap.server.limits import check_id, check_limit
from endcap.v1 import user_pb2


_MAPS = ("attributes",)
_IGNORED = ("id", "visitor_ids", "update_time", "etag")


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a write says of one user."""

    id: str
    etag: str
    """The state that the writer has read; empty to change any."""

    values: Mapping[str, Any]
    """By name in ``UserRecord``."""

    attributes: Mapping[str, Any]
    """Single attributes that are written; None takes one away."""

    def apply(self, stored: UserRecord | None, *, currency: str) -> UserRecord:  # noqa: ARG002
        """Return the record as it becomes.

        Args:
            stored: As it is; None if there is none.
            currency: The shop's; users have no prices.

        Raises:
            InvalidInput: There are too many attributes.
        """
        changed = replace(UserRecord(self.id) if stored is None else stored, **self.values)
        attributes = merge_entries(changed.attributes, self.attributes)
        check_limit("attributes", attributes)
        return replace(changed, attributes=attributes)


def read_user_selection(mask: FieldMask | None) -> Selection:
    """Read which fields of users a write names.

    Raises:
        InvalidInput: A path is none of a field of users that can be written.
    """
    return read_selection(mask, fields=(*_READERS, "create_time"), maps=_MAPS, ignored=_IGNORED)


def read_user(message: user_pb2.User, selection: Selection, *, now: int) -> UserChange:
    """Read what a write says of a user; what it does not write is not looked at.

    Args:
        message: As it came; what is output only is ignored.
        selection: Which fields it writes.
        now: Unix milliseconds.

    Raises:
        InvalidInput: A field is missing, too long or out of range. It is named as from the user on.
    """
    check_id("user_id", message.id, path="id")
    check_limit("etag", message.etag)
    fields = Fields(message, "")
    values = {name: read(fields) for name, read in _READERS.items() if name in selection.fields}
    if "create_time" in selection.fields:
        values["created_time"] = read_create_time(fields, now)
    names = selection.entries.get("attributes", frozenset())
    attributes = dict.fromkeys(names) | read_named_attributes(fields, names)
    return UserChange(message.id, message.etag, values, attributes)


def write_user(value: UserRecord) -> user_pb2.User:
    """Write a user."""
    message = user_pb2.User(
        id=value.id,
        tags=value.tags,
        attributes={name: write_attribute(each) for name, each in value.attributes.items()},
        language_code=value.language_code,
        visitor_ids=value.visitor_ids,
        etag=value.etag,
    )
    if value.created_time is not None:
        message.create_time.FromMilliseconds(value.created_time)
    message.update_time.FromMilliseconds(value.updated_time)
    return message


_READERS: Mapping[str, Callable[[Fields], Any]] = MappingProxyType(
    {
        "tags": lambda fields: read_labels(fields, "tags"),
        "attributes": read_named_attributes,
        "language_code": read_language,
    }
)
"""How each field that can be written is read; not the time that the user was created."""

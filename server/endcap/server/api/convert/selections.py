"""The fields that a mask names: read from the mask, and copied from one message to another."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.fields.limits import check_limit
from endcap.sdk.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen fields; a write leaves the others as they are stored."""

    fields: frozenset[str]
    """Fields that are chosen whole."""

    entries: Mapping[str, frozenset[str]]
    """Names of single entries of maps, by field; none of a map that is chosen whole."""


def read_selection(
    mask: FieldMask | None,
    *,
    fields: Collection[str],
    maps: Collection[str],
    ignored: Collection[str],
    name: str = "update_mask",
) -> Selection:
    """Read the paths of a mask.

    Args:
        mask: Paths of fields, such as ``price`` or ``attributes.colour``; None for all fields.
        fields: The fields that can be chosen.
        maps: The fields whose entries can be named one by one.
        ignored: Output-only fields, which a mask may name without effect.
        name: The field of the request that holds the mask.

    Raises:
        InvalidInput: A path names no such field, or the paths are too many.
    """
    if mask is None:
        return Selection(frozenset(fields), {})
    check_limit("update_mask", mask.paths, path=name)
    entries: dict[str, set[str]] = {}
    for path in mask.paths:
        field, _, entry = path.partition(".")
        if entry and field in maps:
            entries.setdefault(field, set()).add(entry)
        elif path not in fields and path not in ignored:
            raise InvalidInput(
                f"{name} has a path that is not among {', '.join(fields)}: correct it", field=name
            )
    whole = frozenset(fields).intersection(mask.paths)
    return Selection(whole, {field: frozenset(entries[field]) for field in entries.keys() - whole})


def copy_field(path: Sequence[str], source: Any, target: Any) -> None:
    """Make one field of a message what it is in another one: an unset field is cleared.

    Args:
        path: The names of the field and of the messages around it, the outermost first.
        source: The message to copy from.
        target: The message to change, of the same type.
    """
    *parents, name = path
    for parent in parents:
        source, target = getattr(source, parent), getattr(target, parent)
    field = target.DESCRIPTOR.fields_by_name[name]
    value = getattr(source, name)
    target.ClearField(name)
    if field.is_repeated:
        getattr(target, name).MergeFrom(value)
    elif field.message_type is None:
        setattr(target, name, value)
    elif source.HasField(name):
        getattr(target, name).CopyFrom(value)

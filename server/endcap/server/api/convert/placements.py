"""Placements and their changes."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Value

from endcap.catalog.configuration.audit_log import PlacementChange
from endcap.catalog.configuration.placements import SHOWS_SEEN, Placement, RungSpec
from endcap.catalog.fields.limits import (
    MAX_PAGE_SIZE,
    MAX_PARAMETERS_BYTES,
    MAX_PARAMETERS_DEPTH,
    MAX_RUNG_TIMEOUT,
    check_id,
    check_limit,
)
from endcap.sdk import Task
from endcap.sdk.errors import InvalidInput, Unsupported
from endcap.server.api.convert.fields import Fields, write_duration, write_time
from endcap.server.api.convert.rules import read_rules, write_rule
from endcap.server.api.convert.selections import copy_field
from endcap.server.api.paging import DEFAULT_PAGE_SIZE
from endcap.v1 import placement_pb2, placement_service_pb2, task_pb2


_ID = re.compile(r"[a-z][a-z0-9_-]{0,127}")
_EXPLORATION = {"temperature": 10, "new_item_share": 0.5, "floor": 1}
"""The largest value of each number of an exploration."""

_PATH = "placement"
"""The field that holds the placement in every request with one."""

_EXCLUDES: Mapping[int, bool] = MappingProxyType(
    {placement_pb2.SEEN_MODE_EXCLUDE: True, placement_pb2.SEEN_MODE_INCLUDE: False}
)


def read_placement(message: placement_pb2.Placement) -> Placement:
    """Read a placement and check its fields; whether what it names exists is not looked at.

    Args:
        message: The placement as sent; output-only fields are ignored.

    Raises:
        InvalidInput: A field is missing, too long or out of range.
        Unsupported: It explores.
    """
    fields = Fields(message, _PATH)
    if not _ID.fullmatch(message.id):
        raise fields.rejection("id", "must be 1 to 128 of a-z, 0-9, _ and -, and start with a letter")
    task = fields.choice("task", Task)
    check_limit("ladder", message.ladder, path=fields.path_of("ladder"))
    if not message.ladder:
        raise fields.rejection("ladder", "is required: name at least one strategy")
    check_limit("filter", message.filter, path=fields.path_of("filter"))
    check_limit("etag", message.etag, path=fields.path_of("etag"))
    exploration = Fields(message.exploration, fields.path_of("exploration"))
    if any(exploration.number(name, 0, maximum) for name, maximum in _EXPLORATION.items()):
        raise Unsupported("this release does not explore yet: leave exploration empty")
    return Placement(
        id=message.id,
        task=task,
        ladder=tuple(
            _read_rung(rung, Fields(rung, f"{fields.path_of('ladder')}[{index}]"))
            for index, rung in enumerate(message.ladder)
        ),
        display_name=fields.optional_text("display_name"),
        page_size=fields.number("page_size", 1, MAX_PAGE_SIZE, zero=DEFAULT_PAGE_SIZE),
        filter=message.filter,
        rules=read_rules(message.rules, path=fields.path_of("rules")),
        **_read_seen(message.seen, task, Fields(message.seen, fields.path_of("seen"))),
    )


def write_placement(placement: Placement) -> placement_pb2.Placement:
    """Write a placement; one that is not stored has no etag."""
    return placement_pb2.Placement(
        id=placement.id,
        display_name=placement.display_name,
        task=write_task(placement.task),
        ladder=map(_write_rung, placement.ladder),
        seen=_write_seen(placement),
        page_size=placement.page_size,
        filter=placement.filter,
        rules=map(write_rule, placement.rules),
        create_time=write_time(placement.created_time),
        update_time=write_time(placement.updated_time),
        etag=placement.etag if placement.revision else "",
    )


def read_update(stored: Placement, message: placement_pb2.Placement, mask: FieldMask | None) -> Placement:
    """Apply an update to a stored placement, and check the result.

    Args:
        stored: The stored placement, which keeps the fields that the mask does not name.
        message: The new values of the fields that the mask names; an unset field is cleared.
        mask: Paths of fields, such as ``rules`` or ``seen.window``; None for all of them.

    Raises:
        InvalidInput: A path names no field of placements, or the result is not a valid placement.
        Unsupported: It explores.
    """
    if mask is None:
        return read_placement(message)
    merged = write_placement(stored)
    for path in mask.paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(message.DESCRIPTOR):
            raise InvalidInput(
                f"update_mask has the path {path!r}, which is no field of a placement", field="update_mask"
            )
        copy_field(path.split("."), message, merged)
    return read_placement(merged)


def write_change(change: PlacementChange) -> placement_service_pb2.PlacementChange:
    """Write an entry of the audit log."""
    return placement_service_pb2.PlacementChange(
        time=write_time(change.time),
        actor=change.actor,
        before=write_placement(change.before) if change.before else None,
        after=write_placement(change.after) if change.after else None,
        request_id=change.request_id,
    )


def write_task(task: Task) -> "task_pb2.Task.ValueType":
    """Write a task."""
    return task_pb2.Task.Value(f"TASK_{task.name}")


def _read_rung(message: placement_pb2.Rung, fields: Fields) -> RungSpec:
    if message.parameters.ByteSize() > MAX_PARAMETERS_BYTES:
        raise fields.rejection("parameters", f"must have at most {MAX_PARAMETERS_BYTES} bytes")
    return RungSpec(
        strategy=fields.text("strategy"),
        parameters=_read_value(Value(struct_value=message.parameters), MAX_PARAMETERS_DEPTH, fields),
        timeout=fields.duration("timeout", maximum=MAX_RUNG_TIMEOUT),
    )


def _write_rung(rung: RungSpec) -> placement_pb2.Rung:
    message = placement_pb2.Rung(strategy=rung.strategy, timeout=write_duration(rung.timeout))
    if rung.parameters:
        message.parameters.update(dict(rung.parameters))
    return message


def _read_value(value: Value, levels: int, fields: Fields) -> Any:
    kind = value.WhichOneof("kind")
    if kind in {"struct_value", "list_value"} and not levels:
        raise fields.rejection("parameters", f"must be at most {MAX_PARAMETERS_DEPTH} levels deep")
    if kind == "struct_value":
        entries = value.struct_value.fields.items()
        return {name: _read_value(each, levels - 1, fields) for name, each in entries}
    if kind == "list_value":
        return [_read_value(each, levels - 1, fields) for each in value.list_value.values]
    if kind == "string_value" and "\0" in value.string_value:  # PostgreSQL cannot store it
        raise fields.rejection("parameters", "must not hold the character NUL")
    return None if kind in {None, "null_value"} else getattr(value, str(kind))


def _read_seen(message: placement_pb2.SeenPolicy, task: Task, fields: Fields) -> dict[str, Any]:
    check_limit("event_types", message.event_types, path=fields.path_of("event_types"))
    for index, event_type in enumerate(message.event_types):
        check_id("type", event_type, path=f"{fields.path_of('event_types')}[{index}]")
    if message.mode and message.mode not in _EXCLUDES:
        raise fields.rejection("mode", "must be SEEN_MODE_EXCLUDE or SEEN_MODE_INCLUDE")
    seen: dict[str, Any] = {
        "exclude_seen": _EXCLUDES.get(message.mode, task not in SHOWS_SEEN),
        "seen_window": fields.duration("window"),
    }
    if message.event_types:
        seen["seen_types"] = tuple(dict.fromkeys(message.event_types))
    return seen


def _write_seen(placement: Placement) -> placement_pb2.SeenPolicy:
    excludes = placement.exclude_seen
    return placement_pb2.SeenPolicy(
        mode=placement_pb2.SEEN_MODE_EXCLUDE if excludes else placement_pb2.SEEN_MODE_INCLUDE,
        event_types=placement.seen_types,
        window=write_duration(placement.seen_window),
    )

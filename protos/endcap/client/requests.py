"""Building requests: what both clients do alike before they call."""

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.v1.event_pb2 import Event
from endcap.v1.recommendation_service_pb2 import RecommendRequest


class RecommendFields(TypedDict, total=False):
    """The optional fields of a ``RecommendRequest``; the contract says what each means."""

    user_id: str
    visitor_id: str
    item_ids: Iterable[str]
    candidate_item_ids: Iterable[str]
    query: str
    page_size: int
    page_token: str
    filter: str
    exclude_item_ids: Iterable[str]
    context: Mapping[str, str]
    language_code: str
    include_reasons: bool
    include_trace: bool
    validate_only: bool
    minimum_revision: int
    request_id: str
    unrecorded: bool

    item_fields: Iterable[str]
    """Paths such as ``title`` or ``attributes.colour``."""


def recommend_request(placement: str, fields: RecommendFields) -> RecommendRequest:
    """Return the request for one placement.

    Args:
        placement: Identifier of the placement.
        fields: Other fields of the request.
    """
    others: dict[str, Any] = dict(fields)
    paths = others.pop("item_fields", ())
    return RecommendRequest(placement=placement, item_fields=FieldMask(paths=paths), **others)


def name_events(events: Iterable[Event]) -> None:
    """Give each event without an ``event_id`` a new one, in place.

    Sent again, by a retry or by the caller, a named event is not stored twice.
    """
    for event in events:
        if not event.event_id:
            event.event_id = _new_event_id()


def _new_event_id() -> str:
    """Return an id that is larger than those of a millisecond ago, as a UUID of version 7 is (RFC 9562).

    A database stores ids that grow twice as fast as random ones: they touch the same few pages of an index.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"

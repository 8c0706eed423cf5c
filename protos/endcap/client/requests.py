"""Building requests: what both clients do alike before they call."""

from collections.abc import Iterable, Mapping
from typing import TypedDict
from uuid import uuid4

from endcap.v1.event_pb2 import Event


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


def name_events(events: Iterable[Event]) -> None:
    """Give each event without an ``event_id`` a new one, in place.

    Sent again, by a retry or by the caller, a named event is not stored twice.
    """
    for event in events:
        if not event.event_id:
            event.event_id = uuid4().hex

"""Records events."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Outcome
from endcap.catalog.events.writer import EventWriter
from endcap.server.api.call import RpcContext, current_caller
from endcap.server.api.convert.events import EventRejected, read_events, write_rejection
from endcap.server.api.convert.fields import required
from endcap.server.recording.attribution import attribute_events
from endcap.server.recording.logins import recognize_logins
from endcap.server.serving.shops import Shops
from endcap.v1 import event_service_pb2 as pb
from endcap.v1.event_service_pb2_grpc import EventServiceServicer


_REJECTIONS: Mapping[Outcome, EventRejected] = MappingProxyType(
    {
        Outcome.CONFLICT: EventRejected(
            "ALREADY_EXISTS", "this id is another event's: give the new one its own id", field="event_id"
        ),
        Outcome.NOTHING_REVERSED: EventRejected(
            "INVALID_REVERSED_EVENT",
            "reversed_event_id must be of an event of the same user and item that takes nothing back itself:"
            " record that event first",
            field="reversed_event_id",
        ),
        Outcome.USER_DELETED: EventRejected(
            "USER_DELETED", "the user was deleted: send no more of these events", field="user_id"
        ),
    }
)
"""The rejections of events that only the database decides."""


class EventServicer(EventServiceServicer):
    """Answers the calls of ``EventService``."""

    def __init__(self, shops: Shops, database: Database, writer: EventWriter) -> None:
        self._shops = shops
        self._database = database
        self._writer = writer
        self._reading = asyncio.Semaphore(1)  # so that other calls wait for the turn of one, not of each

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, context: RpcContext
    ) -> pb.RecordEventsResponse:
        """Record events; each is accepted or rejected alone.

        Buffered ones are answered before their ids are checked for duplicates.
        """
        caller = current_caller.get()
        shop = self._shops.get(caller.shop)
        required("events", request.events)
        self._writer.check_room(len(request.events))
        response = pb.RecordEventsResponse(request_id=caller.request_id)
        async with self._reading:
            events, rejections = await read_events(request.events, caller.time, shop.settings)
            events = await attribute_events(events, shop.token_key)
        events = await recognize_logins(events, shop, self._database)
        if request.durability == pb.DURABILITY_BUFFERED:
            response.durability = pb.DURABILITY_BUFFERED
            if events:
                self._writer.buffer(shop.id, list(events.values()), shop.state.histories)
            response.accepted_count = len(events)
        else:
            response.durability = pb.DURABILITY_DURABLE
            if events:
                recorded = await self._writer.record(shop.id, list(events.values()), shop.state.histories)
                response.revision = recorded.revision
                response.accepted_count = recorded.outcomes.count(Outcome.ACCEPTED)
                response.duplicate_count = recorded.outcomes.count(Outcome.DUPLICATE)
                rejections += [
                    write_rejection(place, request.events[place], _REJECTIONS[outcome])
                    for place, outcome in zip(events, recorded.outcomes, strict=True)
                    if outcome in _REJECTIONS
                ]
            else:
                response.revision = shop.revision
        response.rejections.extend(sorted(rejections, key=lambda rejection: rejection.index))
        return response

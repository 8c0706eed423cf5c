"""Records events."""

from collections.abc import Sequence

from endcap.catalog.event_writer import EventWriter
from endcap.catalog.events import Event, Outcome
from endcap.sdk.errors import AlreadyExists, InvalidInput
from endcap.server import tokens
from endcap.server.convert.events import read_event
from endcap.server.interceptors import Context, current_call
from endcap.server.limits import check_limit
from endcap.server.shops import Shop, Shops
from endcap.v1 import event_service_pb2 as pb
from endcap.v1 import rejection_pb2
from endcap.v1.event_service_pb2_grpc import EventServiceServicer


class EventServicer(EventServiceServicer):
    """Answers the calls of ``EventService``."""

    def __init__(self, shops: Shops, writer: EventWriter) -> None:
        self._shops = shops
        self._writer = writer

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, context: Context
    ) -> pb.RecordEventsResponse:
        """Record events; each is accepted or rejected alone."""
        call = current_call.get()
        shop = self._shops.get(call.shop)
        if not request.events:
            raise InvalidInput("events are required: send at least one", field="events")
        check_limit("events", request.events)
        check_limit("request_id", request.request_id)
        response = pb.RecordEventsResponse(
            durability=pb.DURABILITY_DURABLE, revision=shop.revision, request_id=request.request_id
        )
        events, places = self._read(request, shop, call.time, response)
        if events:
            recorded = await self._writer.record(shop.id, events)
            response.revision = recorded.revision
            _count(recorded.outcomes, events, places, response)
        return response

    def _read(
        self, request: pb.RecordEventsRequest, shop: Shop, now: int, response: pb.RecordEventsResponse
    ) -> tuple[list[Event], list[int]]:
        """Return the events that are well formed with their places; reject the others."""
        events, places = [], []
        for index, message in enumerate(request.events):
            try:
                event = read_event(message, now=now)
                if event.attribution_token:
                    tokens.verify(shop.token_key, tokens.ATTRIBUTION, event.attribution_token)
            except InvalidInput as error:
                response.rejections.append(
                    rejection_pb2.Rejection(
                        index=index,
                        id=message.event_id,
                        reason=error.reason,
                        field=error.field,
                        message=str(error),
                    )
                )
            else:
                events.append(event)
                places.append(index)
        return events, places


def _count(
    outcomes: Sequence[Outcome],
    events: Sequence[Event],
    places: Sequence[int],
    response: pb.RecordEventsResponse,
) -> None:
    for outcome, event, place in zip(outcomes, events, places, strict=True):
        if outcome is Outcome.ACCEPTED:
            response.accepted_count += 1
        elif outcome is Outcome.DUPLICATE:
            response.duplicate_count += 1
        else:
            response.rejections.append(
                rejection_pb2.Rejection(
                    index=place,
                    id=event.event_id,
                    reason=AlreadyExists.reason,
                    field="event_id",
                    message="this id is another event's: give the new one its own id",
                )
            )

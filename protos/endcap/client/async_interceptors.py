"""The interceptor of an asyncio client: adds the same as that of a blocking one."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

from grpc import aio

from endcap.client.interceptors import with_defaults
from endcap.client.options import Options
from endcap.client.requests import name_events
from endcap.v1.event_service_pb2 import RecordEventsRequest


Request = TypeVar("Request")
Call = TypeVar("Call")
Requests = AsyncIterable[Request] | Iterable[Request]


def call_defaults(options: Options) -> list[aio.ClientInterceptor]:
    """Return the interceptors of a channel: grpc.aio wants an object for each kind of call."""
    return [_UnaryUnary(options), _StreamUnary(options), _StreamStream(options)]


class _CallDefaults:
    """Completes the details of calls."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def complete(self, details: aio.ClientCallDetails, deadline: float) -> aio.ClientCallDetails:
        return aio.ClientCallDetails(
            method=details.method,
            timeout=deadline if details.timeout is None else details.timeout,
            metadata=aio.Metadata(*with_defaults(details.metadata, self._options)),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


class _UnaryUnary(_CallDefaults, aio.UnaryUnaryClientInterceptor):
    """Completes a call."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[aio.ClientCallDetails, Request], Awaitable[Call]],
        client_call_details: aio.ClientCallDetails,
        request: Request,
    ) -> Call:
        if isinstance(request, RecordEventsRequest):
            name_events(request.events)
        return await continuation(self.complete(client_call_details, self._options.deadline), request)


class _StreamUnary(_CallDefaults, aio.StreamUnaryClientInterceptor):
    """Completes a streamed call."""

    async def intercept_stream_unary(
        self,
        continuation: Callable[[aio.ClientCallDetails, Requests[Request]], Awaitable[Call]],
        client_call_details: aio.ClientCallDetails,
        request_iterator: Requests[Request],
    ) -> Call:
        details = self.complete(client_call_details, self._options.stream_deadline)
        return await continuation(details, request_iterator)


class _StreamStream(_CallDefaults, aio.StreamStreamClientInterceptor):
    """Completes a call streamed both ways."""

    async def intercept_stream_stream(
        self,
        continuation: Callable[[aio.ClientCallDetails, Requests[Request]], Awaitable[Call]],
        client_call_details: aio.ClientCallDetails,
        request_iterator: Requests[Request],
    ) -> Call:
        details = self.complete(client_call_details, self._options.stream_deadline)
        return await continuation(details, request_iterator)

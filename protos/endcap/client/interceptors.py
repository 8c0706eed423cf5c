"""The interceptor of a client: adds the deadline, the shop, the bearer token, and names for events."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from endcap.client.options import Options
from endcap.client.requests import name_events
from endcap.v1.event_service_pb2 import RecordEventsRequest


Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class CallDetails(grpc.ClientCallDetails):
    """The details of one call, after the defaults."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


def with_defaults(given: Metadata | None, options: Options) -> tuple[tuple[str, str | bytes], ...]:
    """Return metadata with the shop and the token, unless it names them itself."""
    metadata = tuple(given or ())
    named = {key for key, _ in metadata}
    defaults = [("endcap-shop", options.shop)]
    if options.token:
        defaults.append(("authorization", f"Bearer {options.token}"))
    return metadata + tuple(pair for pair in defaults if pair[0] not in named)


class CallDefaults(
    grpc.UnaryUnaryClientInterceptor, grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Completes the calls of a blocking channel."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._closed = False

    def close(self) -> None:
        """Refuse all further calls: gRPC crashes the process on a call through a closed channel."""
        self._closed = True

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Request], Response],
        client_call_details: grpc.ClientCallDetails,
        request: Request,
    ) -> Response:
        """Complete one call."""
        if isinstance(request, RecordEventsRequest):
            name_events(request.events)
        return continuation(self._complete(client_call_details, self._options.deadline), request)

    def intercept_stream_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Iterator[Request]], Response],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[Request],
    ) -> Response:
        """Complete one streamed call."""
        details = self._complete(client_call_details, self._options.stream_deadline)
        return continuation(details, request_iterator)

    def intercept_stream_stream(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Iterator[Request]], Response],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[Request],
    ) -> Response:
        """Complete one call streamed both ways."""
        details = self._complete(client_call_details, self._options.stream_deadline)
        return continuation(details, request_iterator)

    def _complete(self, details: grpc.ClientCallDetails, deadline: float) -> CallDetails:
        if self._closed:
            raise ValueError("the client is closed: make a new one")
        return CallDetails(
            method=details.method,
            timeout=deadline if details.timeout is None else details.timeout,
            metadata=with_defaults(details.metadata, self._options),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )

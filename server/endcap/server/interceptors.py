"""What every call passes: errors become statuses, the shop is named, time and number are bounded.

One interceptor wraps each method once; the wrapper is kept, so a call pays for one extra frame.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from endcap.sdk import errors
from endcap.server.limits import check_id, max_request_bytes
from endcap.server.metrics import Metrics


Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

ERROR_DOMAIN = "endcap"
SHOP_METADATA = "endcap-shop"
DEFAULT_SHOP = "default"

_CODES: tuple[tuple[type[errors.EndcapError], grpc.StatusCode], ...] = (
    (errors.InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.PageOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Conflict, grpc.StatusCode.ABORTED),
    (errors.Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.DataLoss, grpc.StatusCode.DATA_LOSS),
    (errors.Unsupported, grpc.StatusCode.UNIMPLEMENTED),
)
_RETRY_MILLISECONDS = 500
_EXEMPT = ("/grpc.health.", "/grpc.reflection.")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """What the server knows of a call beside its message."""

    shop: str
    deadline: float
    """When the answer must be there, by ``time.monotonic``."""

    time: int
    """Unix milliseconds at which it came in."""


current_call: ContextVar[Call] = ContextVar("current_call")
"""The call being answered."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands for a message that could not be read, so that the handler can say so."""

    error: errors.EndcapError


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Errors to statuses, identity, deadline, admission and metrics, in that order from outside in."""

    def __init__(
        self, metrics: Metrics, *, max_concurrent_calls: int, default_deadline_seconds: float
    ) -> None:
        self._metrics = metrics
        self._max_concurrent_calls = max_concurrent_calls
        self._default_deadline_seconds = default_deadline_seconds
        self._in_flight = 0
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the wrapped handler of a method; an unknown method stays unknown."""
        method = handler_call_details.method
        wrapped = self._handlers.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(_EXEMPT):
                return handler
            wrapped = self._handlers[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        deserializer = _checked_deserializer(method, handler.request_deserializer)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream), deserializer, handler.response_serializer
            )
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(method, handler.stream_unary), deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary), deserializer, handler.response_serializer
        )

    def _unary(self, method: str, behavior: Any) -> Any:
        async def answer(request: Any, context: Context) -> Any:
            async with self._answering(method, context):
                if isinstance(request, _Refused):
                    raise request.error
                return await behavior(request, context)

        return answer

    def _stream(self, method: str, behavior: Any) -> Any:
        async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
            async with self._answering(method, context):
                async for response in behavior(requests, context):
                    yield response

        return answer

    @asynccontextmanager
    async def _answering(self, method: str, context: Context) -> AsyncIterator[None]:
        started = time.monotonic()
        code = grpc.StatusCode.OK
        self._in_flight += 1
        self._metrics.call_started()
        try:
            if self._in_flight > self._max_concurrent_calls:
                raise errors.Exhausted(  # noqa: TRY301 - the one place that turns errors into statuses
                    "the server answers as many calls as it can: try again later"
                )
            time_left = context.time_remaining()
            if time_left is None:  # the stubs say that it never is
                time_left = self._default_deadline_seconds  # type: ignore[unreachable]
            current_call.set(Call(_shop(context), deadline=started + time_left, time=int(time.time() * 1000)))
            async with asyncio.timeout(time_left):
                yield
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:  # noqa: BLE001
            status = _status(method, error)
            code = status.code
            await context.abort_with_status(status)
        finally:
            self._in_flight -= 1
            self._metrics.call_ended(method, code.name, time.monotonic() - started)


def _checked_deserializer(
    method: str, deserialize: Callable[[bytes], Message]
) -> Callable[[bytes], Message | _Refused]:
    """Read a message without raising: what grpc makes of an error here would be UNKNOWN."""
    limit = max_request_bytes(method)

    def checked(message: bytes) -> Message | _Refused:
        if len(message) > limit:
            return _Refused(
                errors.Exhausted(
                    f"the message has {len(message)} bytes; at most {limit} are allowed: split it"
                )
            )
        try:
            return deserialize(message)
        except DecodeError:
            return _Refused(
                errors.InvalidInput(
                    "the message is not valid protobuf of this method, or a text is not UTF-8"
                )
            )

    return checked


def _shop(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == SHOP_METADATA:
            shop = str(value)
            check_id("shop", shop)
            return shop
    return DEFAULT_SHOP


def _status(method: str, error: Exception) -> Any:
    """Turn an error into a status that says what to do and never holds another exception's text."""
    if isinstance(error, NotImplementedError):
        error = errors.Unsupported("this release does not have the method yet")
    elif isinstance(error, TimeoutError):
        error = errors.DeadlineExceeded("the deadline passed before the answer was ready: allow more time")
    elif not isinstance(error, errors.EndcapError):
        error_id = uuid.uuid4().hex
        _log.error("internal_error", method=method, id=error_id, exc_info=error)
        error = errors.EndcapError(f"internal error, id={error_id}")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)
    if isinstance(error, errors.InvalidInput) and error.field:
        info.metadata["field"] = error.field
    rich = status_pb2.Status(code=code.value[0], message=str(error))
    rich.details.add().Pack(info)
    if isinstance(error, errors.Exhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(_RETRY_MILLISECONDS)
        rich.details.add().Pack(retry)
    status: Any = rpc_status.to_status(rich)
    if isinstance(error, errors.Exhausted):
        pushback = (("grpc-retry-pushback-ms", str(_RETRY_MILLISECONDS)),)
        status = status._replace(trailing_metadata=(*status.trailing_metadata, *pushback))
    return status

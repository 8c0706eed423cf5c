"""The interceptor of every call: maps errors to statuses, names the shop, bounds time and number.

One interceptor wraps each method once; the wrapper is kept, so a call pays for one extra frame.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import aclosing, asynccontextmanager
from functools import partial
from inspect import isawaitable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from endcap.catalog.configuration.shops import DEFAULT_SHOP
from endcap.catalog.fields.limits import check_id
from endcap.sdk import errors
from endcap.server.admin.caller import Caller, CallerRole, require
from endcap.server.api.call import RpcContext, current_caller, identified
from endcap.server.api.limits import MAX_INGEST_BYTES, MAX_REQUEST_BYTES, takes_data_in
from endcap.server.api.roles import required_role
from endcap.server.api.statuses import known_error, status_of
from endcap.server.metrics import Metrics


SHOP_METADATA = "endcap-shop"

_EXEMPT = ("/grpc.health.", "/grpc.reflection.")
"""Methods for operators: exempt from admission and deadlines."""

_INGEST_SHARE = 0.5
"""Share of the calls in flight that may take data in: a flood of events leaves room for answers."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Applies error mapping, identity, deadline, admission and metrics, in that order from outside in."""

    def __init__(
        self,
        metrics: Metrics,
        known_shops: Container[str],
        meet: Callable[[str], Awaitable[None]],
        *,
        max_concurrent_calls: int,
        default_deadline_seconds: float,
    ) -> None:
        """Wrap nothing yet.

        Args:
            metrics: Count the calls.
            known_shops: The ids of the shops in memory, always current.
            meet: Called with the shop of a call that is not in memory, before the call is answered: the shop
                may be new.
            max_concurrent_calls: The most calls in flight; more are rejected.
            default_deadline_seconds: Time of a call that has no deadline.
        """
        self._metrics = metrics
        self._known_shops = known_shops
        self._meet = meet
        self._max_concurrent_calls = max_concurrent_calls
        self._default_deadline_seconds = default_deadline_seconds
        self._max_ingest_calls = max(1, int(max_concurrent_calls * _INGEST_SHARE))
        self._in_flight = 0
        self._taking_in = 0  # calls in flight that take data in
        self._is_stopping = False
        self.idle = asyncio.Event()
        """Set while no call is in flight that was admitted before the server began to stop."""
        self.idle.set()
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def reject_calls(self) -> None:
        """Answer every new call with UNAVAILABLE, which clients may repeat elsewhere."""
        self._is_stopping = True

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
            if handler is None:
                return None
            wrapped = self._handlers[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        requests = "stream" if handler.request_streaming else "unary"
        responses = "stream" if handler.response_streaming else "unary"
        behavior = getattr(handler, f"{requests}_{responses}")
        if handler.request_streaming:
            behavior = _reading_each(behavior)
        guard = _unbounded if method.startswith(_EXEMPT) else partial(self._answering, required_role(method))
        # How long a stream takes is up to its client; each of its requests has a deadline of its own.
        default = math.inf if handler.request_streaming else self._default_deadline_seconds

        async def answer_once(request: Any, context: RpcContext) -> Any:
            async with guard(method, request, context, default):
                return await behavior(request, context)

        async def answer_stream(request: Any, context: RpcContext) -> None:
            async with guard(method, request, context, default):
                await _write(behavior(request, context), context)

        make_handler = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
        return make_handler(
            answer_stream if handler.response_streaming else answer_once,
            _checked_deserializer(method, handler.request_deserializer),
            handler.response_serializer,
        )

    @asynccontextmanager
    async def _answering(
        self,
        role: CallerRole,
        method: str,
        request: Any,
        context: RpcContext,
        default_deadline_seconds: float,
    ) -> AsyncIterator[None]:
        started = time.monotonic()
        code = grpc.StatusCode.OK
        ingest = takes_data_in(method)
        is_new = not self._is_stopping  # a stopping server does not wait for calls that it rejects
        self._in_flight += is_new
        self._taking_in += ingest
        if is_new:
            self.idle.clear()
        self._metrics.call_started()
        try:
            self._admit(ingest=ingest)
            _check_readable(request)
            time_left = context.time_remaining()
            if time_left is None:  # the stubs say that it never is
                time_left = default_deadline_seconds  # type: ignore[unreachable]
            now = int(time.time() * 1000)
            caller = Caller(_shop(context), now, "", started + time_left)
            require(caller, role)
            current_caller.set(identified(caller, request))
            async with asyncio.timeout(None if math.isinf(time_left) else time_left):
                if caller.shop not in self._known_shops:
                    await self._meet(caller.shop)
                yield
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:  # noqa: BLE001
            status = status_of(known_error(error, method))
            code = status.code
            await context.abort_with_status(status)
        finally:
            self._in_flight -= is_new
            self._taking_in -= ingest
            if not self._in_flight:
                self.idle.set()
            self._metrics.call_ended(method, code.name, time.monotonic() - started)

    def _admit(self, *, ingest: bool) -> None:
        if self._is_stopping:
            raise errors.Unavailable("the server is stopping: try again")
        if self._in_flight > self._max_concurrent_calls:
            raise errors.Exhausted("the server answers as many calls as it can: try again later")
        if ingest and self._taking_in > self._max_ingest_calls:
            raise errors.Exhausted("the server takes in as much as it can: send larger batches, or try later")


@asynccontextmanager
async def _unbounded(method: str, request: Any, context: RpcContext, _default: float) -> AsyncIterator[None]:
    """Turn errors into statuses, and nothing else."""
    try:
        _check_readable(request)
        yield
    except grpc.aio.AbortError:
        raise
    except Exception as error:  # noqa: BLE001
        await context.abort_with_status(status_of(known_error(error, method)))


def _check_readable(request: Any) -> None:
    if isinstance(request, errors.EndcapError):
        raise request


def _reading_each(behavior: Callable[[Any, RpcContext], Any]) -> Callable[[Any, RpcContext], Any]:
    """Make a method raise the error of a message of its stream that cannot be read."""
    return lambda requests, context: behavior(_read_each(requests), context)


async def _read_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check_readable(request)
        yield request


async def _write(responses: Any, context: RpcContext) -> None:
    if isawaitable(responses):  # of a method that writes its responses itself
        await responses
        return
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)


def _checked_deserializer(
    method: str, deserialize: Callable[[bytes], Message]
) -> Callable[[bytes], Message | errors.EndcapError]:
    """Return the error of a message that cannot be read: grpc would make UNKNOWN of one raised here."""
    limit = MAX_INGEST_BYTES if takes_data_in(method) else MAX_REQUEST_BYTES

    def checked(message: bytes) -> Message | errors.EndcapError:
        if len(message) > limit:
            return errors.Exhausted(
                f"the message has {len(message)} bytes; at most {limit} are allowed: split it"
            )
        try:
            return deserialize(message)
        except DecodeError:
            return errors.InvalidInput(
                "the message is not valid protobuf of this method, or a text is not UTF-8: write it by the"
                " contract"
            )

    return checked


def _shop(context: RpcContext) -> str:
    shop = str(dict(context.invocation_metadata() or ()).get(SHOP_METADATA, DEFAULT_SHOP))
    check_id("shop", shop)
    return shop

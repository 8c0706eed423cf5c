"""The call at hand, as interceptor and servicers know it; everything below is handed the caller."""

import uuid
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeAlias

import grpc

from endcap.catalog.fields.limits import check_id
from endcap.server.admin.caller import Caller
from endcap.server.serving.shops import Shops
from endcap.server.serving.state import ServedShop


RpcContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]

current_caller: ContextVar[Caller] = ContextVar("current_caller")
"""The caller of the call that is being answered."""


def caller_and_shop(shops: Shops) -> tuple[Caller, ServedShop]:
    """Return the caller of the call at hand, and its shop.

    Raises:
        NotFound: The shop does not exist.
    """
    caller = current_caller.get()
    return caller, shops.get(caller.shop)


def identified(caller: Caller, request: Any, *, default: str = "") -> Caller:
    """Return the caller of one request, under the id that the request has.

    Args:
        caller: Who makes the call.
        request: The message; or the stream of messages, which has no request id.
        default: The id of a request that has none; empty to make one up.

    Raises:
        InvalidInput: The request's id is too long or holds control characters.
    """
    request_id = getattr(request, "request_id", "")
    if request_id:
        check_id("request_id", request_id)
    return replace(
        caller,
        request_id=request_id or default or uuid.uuid4().hex,
        validate_only=getattr(request, "validate_only", False),
    )

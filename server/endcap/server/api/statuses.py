"""Errors as gRPC statuses, with details that programs can read."""

import uuid
from typing import Any

import grpc
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from endcap.sdk import errors


ERROR_DOMAIN = "endcap"

_CODES: tuple[tuple[type[errors.EndcapError], grpc.StatusCode], ...] = (
    (errors.InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.PageOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
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

_log = structlog.get_logger(__name__)


def known_error(error: Exception, method: str) -> errors.EndcapError:
    """Return the error to send for an exception; it never holds the text of a foreign exception.

    Args:
        error: The exception. A foreign one is logged under an id that the returned error names.
        method: The method's full name, for the log.
    """
    if isinstance(error, errors.EndcapError):
        return error
    if isinstance(error, NotImplementedError):
        return errors.Unsupported("this release does not have the method yet")
    if isinstance(error, TimeoutError):
        return errors.DeadlineExceeded("the deadline passed before the answer was ready: allow more time")
    error_id = uuid.uuid4().hex
    _log.error("internal_error", method=method, id=error_id, exc_info=error)
    return errors.EndcapError(f"internal error, id={error_id}")


def code_of(error: errors.EndcapError) -> grpc.StatusCode:
    """Return the status code that stands for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: errors.EndcapError) -> Any:
    """Turn an error into a status whose details programs can read."""
    code = code_of(error)
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

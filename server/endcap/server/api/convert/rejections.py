"""Entries of a batch that were not stored."""

from endcap.catalog.fields.limits import LimitExceeded
from endcap.sdk.errors import AlreadyExists, Conflict, EndcapError, FailedPrecondition, InvalidInput
from endcap.v1 import rejection_pb2


_SHOWN = 128  # characters of an id
_REASONS: tuple[tuple[type[EndcapError], str], ...] = (
    (LimitExceeded, "LIMIT_EXCEEDED"),
    (InvalidInput, "INVALID_VALUE"),
    (AlreadyExists, "DUPLICATE"),
    (Conflict, "ETAG_MISMATCH"),
    (FailedPrecondition, "USER_DELETED"),
)


def write_rejection(index: int, entry_id: str, error: EndcapError) -> rejection_pb2.Rejection:
    """Write why an item or a user was not stored.

    Args:
        index: The entry's place in the request, from 0.
        entry_id: The entry's id as sent.
        error: What is wrong with it.
    """
    reason = next(name for kind, name in _REASONS if isinstance(error, kind))
    field = error.field if isinstance(error, InvalidInput) else ""
    if field == "id" and not isinstance(error, LimitExceeded):
        reason = "INVALID_ID"
    return rejection_pb2.Rejection(
        index=index, id=entry_id[:_SHOWN], reason=reason, field=field, message=str(error)
    )

"""The errors that Endcap raises and what each becomes on the wire.

::

    EndcapError                 INTERNAL            our bug
    ├── InvalidInput            INVALID_ARGUMENT    wrong whatever the state
    ├── PageOutOfRange          OUT_OF_RANGE        paging beyond the last answer
    ├── PermissionDenied        PERMISSION_DENIED   the caller's role does not allow it
    ├── NotFound                NOT_FOUND           absent, or another shop's
    ├── AlreadyExists           ALREADY_EXISTS      the id is taken
    ├── FailedPrecondition      FAILED_PRECONDITION the state refuses
    │   ├── ModelMissing                            no active bundle of that model
    │   └── BundleRefused                           a bundle that is not what it claims to be
    ├── Conflict                ABORTED             somebody else changed it first
    ├── Exhausted               RESOURCE_EXHAUSTED  a limit, a quota, a full queue or disk
    ├── Unavailable             UNAVAILABLE         starting, draining, database gone: retry
    ├── DeadlineExceeded        DEADLINE_EXCEEDED   the time is spent
    ├── DataLoss                DATA_LOSS           stored data proven corrupt
    └── Unsupported             UNIMPLEMENTED       the contract names it, this release cannot do it yet

A message says what happened and what to do about it. It may reach a client, so it never holds
another exception's text. ``reason`` is the stable, machine-readable name of the error.
"""

from typing import ClassVar


class EndcapError(Exception):
    """Base of every error that Endcap raises on purpose."""

    reason: ClassVar[str] = "INTERNAL"


class InvalidInput(EndcapError):
    """The request is wrong whatever the state of the shop."""

    reason = "INVALID_INPUT"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field
        """The request field at fault, in the contract's spelling; empty when no single field is."""


class PageOutOfRange(EndcapError):
    """A page was asked for beyond the last one."""

    reason = "PAGE_OUT_OF_RANGE"


class PermissionDenied(EndcapError):
    """The caller's role does not allow the request."""

    reason = "PERMISSION_DENIED"


class NotFound(EndcapError):
    """The object does not exist, or belongs to another shop."""

    reason = "NOT_FOUND"


class AlreadyExists(EndcapError):
    """An object of that id exists."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(EndcapError):
    """The state of the shop refuses the request; the message names the step that is missing."""

    reason = "FAILED_PRECONDITION"


class ModelMissing(FailedPrecondition):
    """A strategy asks for a model that has no active bundle, or one that cannot be loaded."""

    reason = "MODEL_MISSING"

    unloadable = False
    """Whether a bundle is active that cannot be loaded."""


class BundleRefused(FailedPrecondition):
    """A bundle is damaged, altered, or not made for this server."""

    reason = "BUNDLE_REFUSED"


class Conflict(EndcapError):
    """The object was changed since the caller read it: read it again."""

    reason = "CONFLICT"


class Exhausted(EndcapError):
    """A limit, a quota, a queue or the disk is full."""

    reason = "EXHAUSTED"


class Unavailable(EndcapError):
    """The service cannot answer now; the same call may be retried."""

    reason = "UNAVAILABLE"


class DeadlineExceeded(EndcapError):
    """The time of the call is spent."""

    reason = "DEADLINE_EXCEEDED"


class DataLoss(EndcapError):
    """Stored data are proven corrupt."""

    reason = "DATA_LOSS"


class Unsupported(EndcapError):
    """The contract names it, and this release cannot do it yet."""

    reason = "UNSUPPORTED"

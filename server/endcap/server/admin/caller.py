"""The caller of a request: handed down by the call or command that took the request in."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from endcap.sdk.errors import PermissionDenied


class CallerRole(StrEnum):
    """The permissions of a caller."""

    SERVE = "serve"
    """Ask for recommendations."""

    INGEST = "ingest"
    """Record events."""

    READ = "read"
    """Read what is stored."""

    EDIT = "edit"
    """Change what is stored, and read it."""

    ADMIN = "admin"
    """Everything."""


_INCLUDED: Mapping[CallerRole, AbstractSet[CallerRole]] = MappingProxyType(
    {CallerRole.EDIT: frozenset({CallerRole.READ}), CallerRole.ADMIN: frozenset(CallerRole)}
)
"""The other roles that a role includes."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, with the shop, the time of the request, and the deadline of the answer."""

    shop: str

    time: int
    """Unix milliseconds at which the request came in."""

    request_id: str
    """Names the request in logs, answers and the audit log."""

    deadline: float = math.inf
    """When the answer must be there, by ``time.monotonic``; infinite where nobody waits for it."""

    actor: str = ""
    """A name for the audit log; empty if unknown."""

    role: CallerRole = CallerRole.ADMIN

    validate_only: bool = False
    """Whether everything is checked and nothing stored."""


def require(caller: Caller, role: CallerRole) -> None:
    """Reject a caller whose role does not allow a request.

    Args:
        caller: Who asks.
        role: What the request needs.

    Raises:
        PermissionDenied: The caller's role does not include ``role``.
    """
    if role is not caller.role and role not in _INCLUDED.get(caller.role, ()):
        raise PermissionDenied(f"the role {caller.role} may not do this: use a key with the role {role}")

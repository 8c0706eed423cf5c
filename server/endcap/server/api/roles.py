"""Roles of callers."""

from google.protobuf import descriptor_pool

from endcap.server.admin.caller import CallerRole
from endcap.v1 import role_pb2


_ROLES = {role_pb2.Role.Value(f"ROLE_{role.name}"): role for role in CallerRole}


def required_role(method: str) -> CallerRole:
    """Return the role that a method needs: the one that the contract states, else ``ADMIN``.

    Args:
        method: Its full name, ``/package.Service/Method``.
    """
    service, _, name = method.removeprefix("/").rpartition("/")
    try:
        options = descriptor_pool.Default().FindMethodByName(f"{service}.{name}").GetOptions()
    except KeyError:
        return CallerRole.ADMIN
    return _ROLES.get(options.Extensions[role_pb2.required_role], CallerRole.ADMIN)

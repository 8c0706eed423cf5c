"""Stops a server so that every cut-off call ends with UNAVAILABLE, which clients may repeat elsewhere.

grpc's own stop answers CANCELLED, which clients do not repeat, to every call that it has read and not yet
handed to us, and to those that reach it before the client has read its GOAWAY. On a busy server there always
are some. So connections are closed under grpc before it is stopped: its CANCELLED reaches nobody, and
clients report a lost connection as UNAVAILABLE.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc

from endcap.server.api.interceptor import CallInterceptor


_REJECTING_SECONDS = 0.1
"""Time in which the last answers go out, and calls on their way hear from us that the server stops."""


async def drain(server: grpc.aio.Server, interceptor: CallInterceptor, port: int, seconds: float) -> None:
    """Reject new calls, let calls in flight finish, close all connections and stop.

    Args:
        server: The server, which is listening.
        interceptor: Knows the calls in flight.
        port: The port that the server listens on.
        seconds: Time that calls in flight get to finish.
    """
    interceptor.reject_calls()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await interceptor.idle.wait()
    await asyncio.sleep(_REJECTING_SECONDS)
    hang_up(port)
    await server.stop(None)


def hang_up(port: int) -> None:
    """Close the sockets of this process that listen on a port, then all connections to it."""
    for listening in (True, False):  # a connection that is made in between would be missed
        for each in _sockets():
            with each, suppress(OSError):  # closed by its client meanwhile
                is_ours = each.getsockname()[1] == port
                if is_ours and each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == listening:
                    each.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """Yield the internet sockets of this process, each under a file descriptor of its own."""
    for link in tuple(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # closed meanwhile
            if str(link.readlink()).startswith("socket:"):
                found = socket.socket(fileno=os.dup(int(link.name)))
                if found.family in {socket.AF_INET, socket.AF_INET6}:
                    yield found
                else:
                    found.close()

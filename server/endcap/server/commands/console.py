"""What the commands share: a coroutine is run, and an error becomes one sentence."""

import asyncio
import getpass
import sys
from collections.abc import Coroutine
from typing import Any

import grpc

from endcap.sdk.errors import EndcapError, InvalidInput, Unavailable


_NOT_CONNECTED = "failed to connect"  # how gRPC begins, where no server has said a word


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's work to its end; an error of ours is printed as a sentence, with exit code 1."""
    try:
        asyncio.run(work)
    except EndcapError as error:
        sys.exit(f"Error: {error}")


def login_name() -> str:
    """Return who runs a command; in a container, that may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def refusal(error: grpc.RpcError, address: str) -> EndcapError:
    """Return what a call that failed says to whoever runs a command.

    Args:
        error: Of a call.
        address: Of the server that was called.
    """
    details = str(error.details())
    if details.startswith(_NOT_CONNECTED):
        return Unavailable(
            f"the server at {address} does not answer: start it with 'endcap serve', or name another address"
        )
    return Unavailable(details) if error.code() is grpc.StatusCode.UNAVAILABLE else InvalidInput(details)

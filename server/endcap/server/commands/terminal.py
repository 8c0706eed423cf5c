"""Shared by the commands: a coroutine is run, an error becomes one sentence, the database is opened."""

import asyncio
import getpass
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Annotated, Any, ParamSpec

import grpc
import typer

from endcap.catalog.database.engine import Database, open_database
from endcap.sdk.errors import EndcapError, InvalidInput, Unavailable
from endcap.server.admin.caller import Caller
from endcap.server.settings import read_settings


_Parameters = ParamSpec("_Parameters")

ShopOption = Annotated[str, typer.Option(help="The shop's id.")]

_NOT_CONNECTED = "failed to connect"  # gRPC's text begins so where no server answered


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's work to its end; an error of ours is printed as a sentence, with exit code 1."""
    try:
        asyncio.run(work)
    except EndcapError as error:
        sys.exit(f"Error: {error}")


def command(work: Callable[_Parameters, Coroutine[Any, Any, None]]) -> Callable[_Parameters, None]:
    """Make a command of a coroutine function: see ``run``."""

    @wraps(work)
    def run_work(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> None:
        run(work(*arguments, **options))

    return run_work


@asynccontextmanager
async def opened_database() -> AsyncIterator[Database]:
    """Open the database that the settings name, and close it in the end.

    Raises:
        FailedPrecondition: The database has another schema than this release.
        Unavailable: The database does not answer.
    """
    async with await open_database(read_settings().database_url) as database:
        yield database


def command_caller(shop: str, *, validate_only: bool = False) -> Caller:
    """Return the caller of a command: the login name, under a new request id."""
    return Caller(
        shop,
        time=int(time.time() * 1000),
        actor=_login_name(),
        request_id=uuid.uuid4().hex,
        validate_only=validate_only,
    )


def _login_name() -> str:
    """Return the login name of the person who runs a command; in a container, it may be empty."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def moment(milliseconds: int) -> str:
    """Return a time as tables show it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))


def call_error(error: grpc.RpcError, address: str) -> EndcapError:
    """Return the error of a failed call, for the user of a command.

    Args:
        error: The error of the call.
        address: The address of the server that was called.
    """
    details = str(error.details())
    if details.startswith(_NOT_CONNECTED):
        return Unavailable(
            f"the server at {address} does not answer: start it with 'endcap serve', or name another address"
        )
    return Unavailable(details) if error.code() is grpc.StatusCode.UNAVAILABLE else InvalidInput(details)

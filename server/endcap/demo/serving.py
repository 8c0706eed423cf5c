"""The server of the demo: a process of its own, which says itself that it serves."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from queue import Queue
from threading import Thread

from endcap.sdk.errors import FailedPrecondition, Unavailable


HOST = "127.0.0.1"


def require_free(port: int) -> None:
    """Make sure that nobody listens on a port of this machine.

    Raises:
        Unavailable: Somebody does.
    """
    with socket.socket() as probe:
        # Connections of a server that is gone linger for a minute, and do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Unavailable(
                f"{HOST}:{port} is taken: stop what listens there, then run this again"
            ) from error


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run ``endcap serve``, with its log printed on, and stop it in the end.

    Gives its process and the port that it says it listens on: whoever else answers there is not asked.

    Args:
        environment: Its settings, with a log that tells of more than warnings.

    Raises:
        FailedPrecondition: It ended before it served.
    """
    line = [sys.executable, "-m", "endcap.cli", "serve"]
    with subprocess.Popen(  # noqa: S603
        line, env=environment, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as process:
        said: Queue[int | None] = Queue()
        printing = Thread(target=_print_log, args=(process.stdout, said))
        printing.start()
        try:
            port = said.get()
            if port is None:
                raise FailedPrecondition("the server did not start: see what it says above")
            yield process, port
        finally:
            process.terminate()
            printing.join()


def _print_log(log: Iterable[str], said: "Queue[int | None]") -> None:
    """Print a server's log to its end, and say the port that it serves on, or None once it has ended."""
    for line in log:
        print(line, end="", flush=True)
        port = _serving_port(line)
        if port is not None:
            said.put(port)
    said.put(None)


def _serving_port(line: str) -> int | None:
    """Return the port that a line of the log names as the one served on."""
    try:
        entry = json.loads(line)
    except ValueError:  # plugins print what they like
        return None
    return int(entry["port"]) if isinstance(entry, dict) and entry.get("event") == "serving" else None

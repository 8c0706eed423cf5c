"""The most memory that a piece of work took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"


@contextmanager
def peak_memory() -> Iterator[Callable[[], float | None]]:
    """Give a function that returns the process's peak since the block began, in MiB.

    It is None on systems that keep no such record; Linux does.
    """
    try:
        _RESET.write_text("5")
        reset = True
    except OSError:
        reset = False
    yield lambda: _peak() if reset else None


def _peak() -> float | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(_PEAK):
            return int(line.split()[1]) / 1024
    return None

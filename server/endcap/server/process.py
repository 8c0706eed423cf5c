"""The process: its allocator, its garbage collector and the turns of its threads."""

import ctypes
import gc
import sys


_SWITCH_SECONDS = 0.0005
"""Time after which a thread gives Python's lock to another one that waits for it.

A strategy answers in a thread of its own. With the interpreter's 5 ms it waits that long, many times over,
while the event loop is busy with other calls.
"""

_M_MMAP_THRESHOLD = -3
_LARGE = 8 * 1024 * 1024


def give_back_large_blocks() -> None:
    """Let blocks of 8 MiB and more, which models are made of, go back to the system once they are free.

    Left alone, glibc keeps more and larger blocks for itself the more are freed, and a server that swaps
    its models ends up with the memory of several. Other C libraries have no such call, nor the habit.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def settle() -> None:
    """Keep what a started server holds out of later garbage collections, and let threads take turns early.

    With a shop in memory a full collection would stop all calls for a tenth of a second, every few seconds.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_SECONDS)

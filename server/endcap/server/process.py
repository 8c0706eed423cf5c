"""The allocator of the process: large blocks go back to the system."""

import ctypes


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

"""What large blocks took goes back to the system."""

import platform
import subprocess
import sys
from textwrap import dedent

import pytest


_TAKE_AND_FREE = dedent(
    """
    import ctypes, gc, sys
    from pathlib import Path
    from endcap.server.process import give_back_large_blocks

    def resident():
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024

    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    if sys.argv[1] == "give back":
        give_back_large_blocks()
    before = resident()
    libc.free(ctypes.c_void_p(libc.malloc(16 * 2**20)))  # glibc now takes 16 MiB for a usual size
    blocks = [libc.malloc(12 * 2**20) for _ in range(10)]
    for block in blocks:
        ctypes.memset(block, 1, 12 * 2**20)
    for block in blocks[:-1]:
        libc.free(ctypes.c_void_p(block))
    print(resident() - before)
    """
)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
@pytest.mark.parametrize(("way", "least", "most"), [("give back", 0, 40), ("left alone", 100, 200)])
def test_freed_blocks_do_not_stay_with_the_process(way: str, least: int, most: int) -> None:
    """Ten blocks of 12 MiB, of which nine are freed."""
    printed = subprocess.run(
        [sys.executable, "-c", _TAKE_AND_FREE, way], check=True, capture_output=True, text=True
    ).stdout

    assert least <= int(printed) <= most

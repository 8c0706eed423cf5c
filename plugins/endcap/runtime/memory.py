"""Bounds the memory that graphs take: a bundle of a few bytes can ask for more than the machine has."""

import os
from functools import cache
from pathlib import Path

import onnxruntime


_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_GROW_BY_WHAT_IS_ASKED = 1
_DEFAULT = -1


@cache
def limit_memory() -> None:
    """Let the graphs of this process together take half of the memory there is; a run beyond that fails.

    Sessions take part that have ``session.use_env_allocators`` set.
    """
    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    limits = onnxruntime.OrtArenaCfg(
        {
            "max_mem": memory() // 2,
            "arena_extend_strategy": _GROW_BY_WHAT_IS_ASKED,
            "initial_chunk_size_bytes": _DEFAULT,
            "max_dead_bytes_per_chunk": _DEFAULT,
        }
    )
    onnxruntime.create_and_register_allocator(where, limits)


def memory() -> int:
    """Return the bytes of memory that the machine has, or the container where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or one without a limit
        return machine

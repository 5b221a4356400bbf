"""Limits the memory arenas of the C library: glibc makes one for each thread, and gives little of them back.

Threads of the service wait for the kernel and for the interpreter's lock, so they need none of their own.
"""

from __future__ import annotations

_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""


def limit(count: int) -> None:
    """For this process and those it forks. Call it before the first thread starts."""
    import ctypes

    try:
        ctypes.CDLL(None).mallopt(_ARENA_MAX, count)
    except AttributeError:
        pass  # another C library than glibc

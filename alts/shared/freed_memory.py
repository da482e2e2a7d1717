"""Settings of the C library that let a process give freed memory back to the system."""

from __future__ import annotations

import ctypes

# mallopt(3), malloc.h. glibc raises the threshold to the size of a freed block, up to 32 MiB, and then keeps freed
# blocks in the arenas of the threads that used them: hundreds of MB that are unused and not returned to the system.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 128 << 10  # bytes
_M_ARENA_MAX, _ARENA_MAX = -8, 2


def return_freed_memory() -> None:
    """Let this process return freed memory. Does nothing with a C library other than glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_ARENA_MAX, _ARENA_MAX)

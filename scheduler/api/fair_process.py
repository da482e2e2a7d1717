"""Settings of the interpreter and the C library that share time and memory fairly between requests."""

from __future__ import annotations

import ctypes
import sys

SWITCH_INTERVAL = 0.001
"""Seconds that a thread may keep the interpreter while others wait. A request of /health needs about ten turns."""

# mallopt(3), malloc.h. glibc raises the threshold to the size of a freed block, up to 32 MiB, and then keeps freed
# bodies in the arenas of the threads that used them: hundreds of MB that are unused and not returned to the system.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 128 << 10  # bytes
_M_ARENA_MAX, _ARENA_MAX = -8, 2


def be_fair() -> None:
    """Give this process's threads short turns, and let it return freed memory to the system."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # only glibc has it
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_ARENA_MAX, _ARENA_MAX)

"""What the scheduler's process asks of the interpreter and of the C library, so that requests share both fairly."""

from __future__ import annotations

import ctypes
import sys

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread gives the interpreter to one that waits for it. /health needs it some ten times."""

# mallopt(3), malloc.h. glibc raises the threshold to the size of what is freed, up to 32 MiB, and then keeps freed
# bodies in the arenas of whichever threads had them: hundreds of MB that nobody uses and the system does not get back.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 128 << 10  # bytes
_M_ARENA_MAX, _ARENA_MAX = -8, 2


def be_fair() -> None:
    """Change this process: short turns for its threads, and memory that goes back to the system when it is free."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # only glibc has it
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_ARENA_MAX, _ARENA_MAX)

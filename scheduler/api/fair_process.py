"""Settings of the interpreter and the C library that share time and memory fairly between requests."""

from __future__ import annotations

import sys

from alts.shared.freed_memory import return_freed_memory

SWITCH_INTERVAL = 0.001
"""Seconds that a thread may keep the interpreter while others wait. A request of /health needs about ten turns."""


def be_fair() -> None:
    """Give this process's threads short turns, and let it return freed memory to the system."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    return_freed_memory()

"""File locks between the processes and threads of one host. The kernel releases a dead holder's lock (flock(2))."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file at `path`, creating it if needed. Never waits, and never removes the file.

    Returns a descriptor that holds the lock until it is closed, or None if another holder is in the way. `shared`
    locks exclude only exclusive ones. Each call opens a file description of its own, so locks also exclude threads of
    the same process. Raises OSError if the file cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if relock(descriptor, shared=shared):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def relock(descriptor: int, *, shared: bool) -> bool:
    """Change the kind of a held lock. Returns False if another holder is in the way: the lock is then lost."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

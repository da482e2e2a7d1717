"""A lock on a file that processes and threads of one host share, and that dies with its holder: flock(2)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file at `path`, which is made and stays; a descriptor to close, None where another one holds it.

    Every call has a file description of its own, so that flock(2) keeps threads of one process apart, too. `shared`:
    beside others that share it. Raises OSError where the file cannot be made or opened.
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
    """Change the kind of a lock; False where another holder is in the way, and the descriptor then has no lock."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""A lock that threads and processes of one host share, and that dies with whoever holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alts.stop import Stop

_TRY_INTERVAL = 0.2  # seconds


@contextmanager
def host_lock(path: Path, stop: Stop) -> Iterator[None]:
    """Hold the lock on the file at `path`, which is made and stays. Raises Stopped where `stop` comes first."""
    # A file description of our own each time: flock(2) then keeps threads of one process apart, too.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _taken(descriptor):
            stop.check()
            stop.sleep(_TRY_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

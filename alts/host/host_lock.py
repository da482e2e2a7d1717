"""Host-wide lock file for threads and processes, with a stoppable wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alts.core.stop import Stop
from alts.shared.file_lock import try_lock

_TRY_INTERVAL = 0.2  # seconds


@contextmanager
def host_lock(path: Path, stop: Stop) -> Iterator[None]:
    """Hold the lock on the file `path`. The file is created and never removed. Raises Stopped if `stop` comes first."""
    while (descriptor := try_lock(path)) is None:
        stop.check()
        stop.sleep(_TRY_INTERVAL)
    try:
        yield
    finally:
        os.close(descriptor)

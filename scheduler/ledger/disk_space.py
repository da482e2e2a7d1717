"""Free space on the ledger's disk."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from alts.shared.errors import LedgerFull

# Reserved for the reports of running tasks, which must not find the disk full.
NEEDED_MB = 32
# A disk does not fill within a second, so one look serves all tasks of that second.
KEPT_SECONDS = 1.0


class Room:
    """Checks the file system of the ledger's folder. Any thread may call it."""

    def __init__(
        self,
        folder: Path | None,
        *,
        needed_mb: int = NEEDED_MB,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder`: None if the ledger is not on this host. `free` returns the free bytes of a folder's file system."""
        self._folder = folder
        self._needed = needed_mb << 20
        self._free = free
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._trouble = ""

    def check(self) -> None:
        """Raises LedgerFull if there is no room for another task, or the system does not say whether there is."""
        with self._lock:
            if self._clock() - self._looked_at > KEPT_SECONDS:
                self._trouble = self._look()
                self._looked_at = self._clock()
            trouble = self._trouble
        if trouble:
            raise LedgerFull(trouble)

    def _look(self) -> str:
        if self._folder is None:
            return ""
        try:
            free = self._free(self._folder)
        except OSError as error:
            return f"cannot read the free space of the ledger's folder {self._folder}: {error.strerror}"
        if free >= self._needed:
            return ""
        wanted = f"{free >> 20} MB are free at {self._folder}, {self._needed >> 20} MB are required"
        return f"the ledger's disk is full: {wanted}"

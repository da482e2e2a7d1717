"""Whether the ledger's disk has room for more tasks."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from alts.shared.errors import LedgerUnavailable

# For the reports of the tasks that run already, which must not find the disk full.
NEEDED_MB = 32
# A disk that fills does not do so within a second; to look at it costs microseconds, but so does every task.
KEPT_SECONDS = 1.0


class Room:
    """Looks at the file system of the ledger's folder. Any thread may call it."""

    def __init__(
        self,
        folder: Path | None,
        *,
        needed_mb: int = NEEDED_MB,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder`: None where the ledger is not on this host. `free`: bytes that are free there."""
        self._folder = folder
        self._needed = needed_mb << 20
        self._free = free
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._trouble = ""

    def check(self) -> None:
        """Raises LedgerUnavailable where no more tasks are to be written down."""
        with self._lock:
            if self._clock() - self._looked_at > KEPT_SECONDS:
                self._trouble = self._look()
                self._looked_at = self._clock()
            trouble = self._trouble
        if trouble:
            raise LedgerUnavailable(trouble)

    def _look(self) -> str:
        if self._folder is None:
            return ""
        try:
            free = self._free(self._folder)
        except OSError as error:
            return f"the ledger's folder {self._folder} cannot be looked at: {error.strerror}"
        if free >= self._needed:
            return ""
        wanted = f"{free >> 20} MB are free at {self._folder}, and {self._needed >> 20} MB are needed"
        return f"the ledger's disk is full: {wanted}"

"""Whether this worker should take tasks now: a task that is claimed without room or engine only burns an attempt."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Check = Callable[[], str]
"""Says in one line what is in the way, such as "only 12 MB are free at /var/lib/alts"; empty where nothing is."""

_MAX_AGE = 1.0  # seconds that an answer is good for: tasks that come together ask once


class Readiness:
    """Asks its checks, one after another, until one has something against it."""

    def __init__(
        self, checks: Sequence[Check], *, max_age: float = _MAX_AGE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = checks
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why no task is to be taken; empty where one may be. Takes as long as the checks do, seconds at most."""
        with self._lock:
            if self._asked_at is None or self._clock() - self._asked_at > self._max_age:
                self._trouble = next(filter(None, (check() for check in self._checks)), "")
                self._asked_at = self._clock()
            return self._trouble


def disk_check(folder: Path, *, min_free_mb: int) -> Check:
    """Whether the file system of a folder has so many megabytes left for us."""

    def check() -> str:
        try:
            free = shutil.disk_usage(folder).free >> 20
        except OSError as error:
            return f"{folder} cannot be looked at: {error.strerror}"
        return "" if free >= min_free_mb else f"only {free} MB are free at {folder}, of {min_free_mb} that are wanted"

    return check

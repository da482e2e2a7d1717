"""Readiness of a worker: a task claimed without disk space or engine only burns an attempt."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Check = Callable[[], str]
"""Returns one line that says what is wrong, e.g. "only 12 MB are free at /var/lib/alts"; empty if nothing is."""

_MAX_AGE = 1.0  # seconds that an answer is cached: simultaneous tasks check once


class Readiness:
    """Runs its checks in order until one fails. Any thread may ask; one thread checks at a time."""

    def __init__(
        self, checks: Sequence[Check], *, max_age: float = _MAX_AGE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`max_age`: seconds that an answer is cached."""
        self._checks = checks
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why no task may be claimed; empty if one may. Takes as long as the checks do, seconds at most."""
        with self._lock:
            if self._asked_at is None or self._clock() - self._asked_at > self._max_age:
                self._trouble = next(filter(None, (check() for check in self._checks)), "")
                self._asked_at = self._clock()
            return self._trouble


def disk_trouble(folder: Path, *, min_free_mb: int) -> str:
    """Return why the folder's file system has too little space; empty if it has enough. A Check, with its arguments."""
    try:
        free = shutil.disk_usage(folder).free >> 20
    except OSError as error:
        return f"disk usage of {folder} is unknown: {error.strerror}"
    return "" if free >= min_free_mb else f"only {free} MB are free at {folder}, and {min_free_mb} MB are needed"

"""Cache of recent pull failures, so tasks do not wait for an unreachable registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from alts.shared.atomic_file import write_atomically

MEMORY_SECONDS = 600.0


class PullMemory:
    """Failures in files of a folder that the workers of a host share; `clock` is seconds since the epoch."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def failure(self, name: str) -> str | None:
        """Return why a pull failed within the last MEMORY_SECONDS; None if none did."""
        path = self._path(name)
        try:
            age = self._clock() - path.stat().st_mtime
            reason = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        # A negative age means that the clock was set back.
        return reason if 0 <= age < MEMORY_SECONDS else None

    def remember(self, name: str, reason: str) -> None:
        write_atomically(self._path(name), reason.encode(), durable=False)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pull-failed"

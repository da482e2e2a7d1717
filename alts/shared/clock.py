"""Wall-clock time that does not follow a jump of the system's clock at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# Seconds. Smaller steps, e.g. of a time daemon, are followed at once.
TOLERANCE_SECONDS = 2.0
# Seconds. A jump that is undone within this time is ignored. One that lasts this long is followed.
SETTLE_SECONDS = 600.0


class SteadyClock:
    """Seconds since the epoch: the wall clock's time at the start, advanced by the monotonic clock.

    A jump of the wall clock is followed only after it has lasted `settle` seconds. It is followed at all because a
    process that started with a wrong clock must not stay wrong forever. Any thread may call it.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        tolerance: float = TOLERANCE_SECONDS,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._tolerance = tolerance
        self._settle = settle
        self._lock = threading.Lock()
        self._offset = wall() - monotonic()
        # After a jump: the wall clock's new offset, and the monotonic time at which it was noticed.
        self._jumped: tuple[float, float] | None = None

    def __call__(self) -> float:
        """Return the steady time."""
        return self.readings()[0]

    def readings(self) -> tuple[float, float]:
        """Return the steady time and the wall clock's time. They differ only for a while after a jump."""
        monotonic, wall = self._monotonic(), self._wall()
        with self._lock:
            self._notice(wall - monotonic, monotonic)
            return monotonic + self._offset, wall

    def _notice(self, offset: float, now: float) -> None:
        if abs(offset - self._offset) <= self._tolerance:
            self._offset, self._jumped = offset, None
        elif self._jumped is None or abs(offset - self._jumped[0]) > self._tolerance:
            self._jumped = (offset, now)
            log.warning("the system's clock has jumped", extra={"seconds": round(offset - self._offset, 3)})
        elif now - self._jumped[1] >= self._settle:
            log.warning("the system's clock is followed", extra={"seconds": round(offset - self._offset, 3)})
            self._offset, self._jumped = offset, None

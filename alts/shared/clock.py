"""Wall time that a jump of the system's clock does not move at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# Smaller steps, as time daemons make them, are followed at once. Seconds.
TOLERANCE_SECONDS = 2.0
# A jump that is taken back within this time has never happened; one that stays this long is the truth. Seconds.
SETTLE_SECONDS = 600.0


class SteadyClock:
    """Seconds since the epoch, counted by the monotonic clock from the wall clock's time at the start.

    When the wall clock jumps, this one goes on as before. It takes over the wall clock's time once that has stayed
    where it jumped to for `settle` seconds: a process that was started with a wrong clock must not be wrong for ever.
    Any thread may call it.
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
        # The offset that the wall clock has jumped to, and when, by the monotonic clock, that was noticed.
        self._jumped: tuple[float, float] | None = None

    def __call__(self) -> float:
        """Return the steady time."""
        return self.readings()[0]

    def readings(self) -> tuple[float, float]:
        """Return the steady time and the wall clock's. They only differ for a while after a jump."""
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

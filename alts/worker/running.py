"""The attempts that this worker runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alts.core.stop import Stop, StopReason
from alts.runners.base import AttemptKey


class RunningAttempts:
    """The Stop of each running attempt. Any thread may call it.

    Keys hold the attempt number, because an attempt that lost its lease may still be ending beside its successor.
    """

    def __init__(self) -> None:
        self._stops: dict[AttemptKey, Stop] = {}
        self._draining = False

    @contextmanager
    def add(self, attempt: AttemptKey, *, seconds: float) -> Iterator[Stop]:
        """Count an attempt as running for the `with` block. Yields its Stop, which expires after `seconds`."""
        stop = Stop(seconds)
        self._stops[attempt] = stop
        # Read after the insertion: a concurrent drain() sees the new entry, or is seen here.
        if self._draining:
            stop.request(StopReason.DRAINING)
        try:
            yield stop
        finally:
            del self._stops[attempt]

    def keys(self) -> frozenset[AttemptKey]:
        """Return the attempts that run now."""
        return frozenset(self._stops)

    def drain(self) -> None:
        """Ask all running attempts, and every later one, to stop."""
        self._draining = True
        for stop in list(self._stops.values()):
            stop.request(StopReason.DRAINING)

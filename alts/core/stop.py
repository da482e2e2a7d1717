"""Nested deadlines with one request to stop from outside.

Celery's threads pool ignores time limits and cannot revoke a running task, so every long operation takes a Stop and
checks it at least five times a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum


class StopReason(StrEnum):
    """Why work must end early."""

    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"
    DRAINING = "draining"


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Work ended early because of its Stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Stop:
    """A deadline that any thread may bring forward with a request.

    `Stop(60).within(10)` ends at the earlier of both deadlines. A request reaches all parents and children.
    """

    def __init__(
        self, seconds: float, *, clock: Callable[[], float] = time.monotonic, parent: Stop | None = None
    ) -> None:
        self._clock = clock
        self._parent = parent
        self._deadline = clock() + seconds
        if parent is not None:
            self._deadline = min(self._deadline, parent._deadline)
        self._requested: StopReason | None = None
        self._event: threading.Event = threading.Event() if parent is None else parent._event

    def within(self, seconds: float) -> Stop:
        """Return a child that ends in `seconds` or together with this Stop, whichever is sooner."""
        return Stop(seconds, clock=self._clock, parent=self)

    def request(self, reason: StopReason) -> None:
        """Ask all work that watches this Stop, its parents or their children to end. The first reason stays."""
        root = self._root
        if root._requested is None:
            root._requested = reason
        root._event.set()

    @property
    def reason(self) -> StopReason | None:
        """The reason to stop now; None to go on. A request outweighs a deadline."""
        if requested := self._root._requested:
            return requested
        return StopReason.DEADLINE if self._clock() >= self._deadline else None

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._deadline - self._clock())

    def check(self) -> None:
        """Return if there is no reason to stop. Raises Stopped if there is one."""
        if reason := self.reason:
            raise Stopped(reason)

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, at most until a request or the deadline."""
        self._event.wait(min(seconds, self.remaining))

    @property
    def _root(self) -> Stop:
        stop = self
        while stop._parent is not None:
            stop = stop._parent
        return stop

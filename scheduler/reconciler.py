"""The reconciler: finds tasks that nobody works on any more, and invites again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from alts.shared.loop import Loop

log = logging.getLogger(__name__)


class Leases(Protocol):
    """What the reconciler needs of the ledger."""

    def now(self) -> float: ...

    def expire_leases(self, *, as_of: float | None = None) -> tuple[str, ...]: ...

    def resend_lost(self) -> tuple[str, ...]: ...


class Reconciler:
    """Looks for lapsed leases and lost invitations every `interval` seconds, in a thread of its own.

    While the scheduler or its ledger was away, no worker could send a heartbeat: after a start, and after every gap
    longer than half a lease, no lease is let lapse before a whole lease has gone by. Several schedulers may look at
    one ledger, each with a memory of its own gaps: a worker that can reach one of them is heard by all.
    """

    def __init__(
        self,
        ledger: Leases,
        *,
        interval: float,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._interval = interval
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._last_step: tuple[float, float] | None = None
        self._grace_until = 0.0
        self._loop = Loop("reconciler", self.step)
        self.start = self._loop.start
        self.close = self._loop.close

    def step(self) -> float:
        """Look once; how long to wait for the next time, in seconds. Raises InfrastructureError."""
        # Read before anything that may take long: whatever holds us up from here on, no lease that was good then
        # lapses, and the next step sees the gap.
        as_of = self._ledger.now()
        now = self._clock()
        if self._is_after_a_gap(now, as_of):
            self._grace_until = now + self._lease_seconds
        lost = self._ledger.resend_lost()
        lapsed = self._ledger.expire_leases(as_of=as_of) if now >= self._grace_until else ()
        self._last_step = now, as_of
        for task_id in lapsed:
            log.warning("a worker stopped answering", extra={"task_id": task_id})
        for task_id in lost:
            log.info("nobody followed an invitation", extra={"task_id": task_id})
        return self._interval

    def _is_after_a_gap(self, now: float, as_of: float) -> bool:
        if self._last_step is None:
            return True
        # The ledger's clock, too: where that was set forward, every lease looks lapsed.
        gap = max(now - self._last_step[0], as_of - self._last_step[1])
        return gap > max(self._lease_seconds / 2, 2 * self._interval)

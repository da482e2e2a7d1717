"""The reconciler: finds tasks whose worker or invitation was lost, and invites again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from alts.shared.periodic import Loop
from scheduler.background.unchanged import Unchanged
from scheduler.ledger.leases import Lease

log = logging.getLogger(__name__)

# Implausible times are rare, and a search for them reads the index of all queued tasks.
RECALL_SECONDS = 30.0


class Leases(Protocol):
    """Leases of running tasks; scheduler.ledger.leases implements it."""

    def held(self) -> tuple[Lease, ...]:
        """Return the leases of all running tasks."""
        ...

    def expire(self, lapsed: Iterable[Lease]) -> tuple[str, ...]:
        """Take tasks away from their workers; return the ids of those whose lease was not prolonged meanwhile."""
        ...


class Queue(Protocol):
    """Queued tasks; scheduler.ledger.queue implements it."""

    def resend_lost(self) -> Sequence[str]:
        """Invite again for tasks whose invitation no worker followed; return their ids."""
        ...

    def recall_far_ahead(self) -> Sequence[str]:
        """Make tasks due whose times lie implausibly far ahead; return their ids."""
        ...

    def requeue_all(self) -> Sequence[str]:
        """Invite again for every queued task; return their ids."""
        ...


class Reconciler:
    """Looks for lapsed leases and lost invitations every `interval` seconds, in a thread of its own.

    A lease has lapsed when this process has seen it for `lease_seconds` without a heartbeat, by its own monotonic
    clock: neither a jump of the clock nor another host's clock makes one lapse. While the scheduler or its ledger was
    away, no worker could send a heartbeat, so after every gap longer than half a lease the watch begins anew. Several
    schedulers may share a ledger: a heartbeat that reaches one of them counts for all.
    """

    def __init__(
        self,
        leases: Leases,
        queue: Queue,
        *,
        interval: float,
        lease_seconds: float,
        queue_lost: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queue_lost`: the broker has forgotten all messages, so every queued task is invited again."""
        self._leases = leases
        self._queue = queue
        self._interval = interval
        self._lease_seconds = lease_seconds
        self._queue_lost = queue_lost
        self._clock = clock
        self._last_step = float("-inf")
        self._recalled_at = float("-inf")
        self._watch: Unchanged[tuple[str, int]] = Unchanged()
        self._loop = Loop("reconciler", self.step)
        self.start = self._loop.start
        self.close = self._loop.close

    def step(self) -> float:
        """Look once; return the seconds to wait before the next time. Raises InfrastructureError."""
        began = self._clock()
        if began - self._last_step > max(self._lease_seconds / 2, 2 * self._interval):
            self._watch.forget()
        if self._queue_lost:
            self._tell(self._queue.requeue_all(), "invited again: the broker has forgotten the queue")
            self._queue_lost = False
        if began - self._recalled_at >= RECALL_SECONDS:
            self._tell(self._queue.recall_far_ahead(), "a time implausibly far ahead counts as now")
            self._recalled_at = began
        self._tell(self._queue.resend_lost(), "no worker followed an invitation")
        self._expire()
        # Set only by a successful step, to its beginning: a step that was held up counts as a gap, too.
        self._last_step = began
        return self._interval

    def _expire(self) -> None:
        asked = self._clock()
        leases = {(lease.task_id, lease.attempt): lease for lease in self._leases.held()}
        values = {key: lease.expires_at for key, lease in leases.items()}
        ages = self._watch.look(values, began=asked, ended=self._clock())
        lapsed = [leases[key] for key, age in ages.items() if age >= self._lease_seconds]
        for task_id in self._leases.expire(lapsed) if lapsed else ():
            log.warning("a worker stopped answering", extra={"task_id": task_id})

    def _tell(self, task_ids: Sequence[str], message: str) -> None:
        for task_id in task_ids:
            log.info(message, extra={"task_id": task_id})

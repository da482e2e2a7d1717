"""Detection of tasks that wait although a worker for their queue is free."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from alts.shared.errors import InfrastructureError
from alts.shared.periodic import Loop
from scheduler.background.unchanged import Unchanged
from scheduler.ledger.presence import Presence
from scheduler.ledger.queue import Waiting

INTERVAL_SECONDS = 5.0
# A free worker takes a task within a second, but announces its free slots only every ten seconds.
PATIENCE_SECONDS = 30.0
SAMPLE = 100


class Queue(Protocol):
    """Queued tasks; scheduler.ledger.queue implements it."""

    def longest_queued(self, *, limit: int) -> tuple[Waiting, ...]:
        """Return the tasks that were queued first."""
        ...


class Workers(Protocol):
    """Announced workers; scheduler.ledger.presence implements it."""

    def present(self) -> tuple[Presence, ...]:
        """Return the workers that have announced themselves lately."""
        ...


class StuckTasks:
    """Watches the tasks that were queued first, in a thread of its own. /health reports the stuck ones."""

    def __init__(
        self,
        queue: Queue,
        workers: Workers,
        *,
        interval: float = INTERVAL_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: seconds that a task may wait while a worker on its queue is free."""
        self._queue = queue
        self._workers = workers
        self._interval = interval
        self._patience = patience
        self._clock = clock
        self._last_step = float("-inf")
        self._watch: Unchanged[str] = Unchanged()
        self._stuck: tuple[str, ...] = ()
        self._loop = Loop("stuck tasks", self.step)
        self.start = self._loop.start
        self.close = self._loop.close

    def step(self) -> float:
        """Look once; return the seconds to wait before the next time. Raises LedgerUnavailable."""
        began = self._clock()
        if began - self._last_step > 3 * self._interval:
            self._watch.forget()
        free = [one for one in self._workers.present() if one.ready and one.free]
        queued = self._queue.longest_queued(limit=SAMPLE) if free else ()
        # A task whose queue has no free worker is forgotten. Its wait begins anew once a worker is free.
        could_run = {one.task_id: True for one in queued if any(worker.listens_on(one.queue) for worker in free)}
        ages = self._watch.look(could_run, began=began, ended=self._clock())
        self._stuck = tuple(task_id for task_id, age in ages.items() if age >= self._patience)
        self._last_step = began
        return self._interval

    def check(self) -> None:
        """Raises InfrastructureError if tasks are stuck. The message has their number and the first id."""
        if stuck := self._stuck:
            patience = f"{self._patience:.0f} s"
            raise InfrastructureError(
                f"{len(stuck)} tasks have waited for over {patience} while a worker was free, for example {stuck[0]}"
            )

"""Workers' announcements: which workers are present, and whether they take tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from alts.shared.errors import InfrastructureError
from scheduler.ledger.database import Database
from scheduler.ledger.retry_policy import CLOCK_TOLERANCE_SECONDS
from scheduler.ledger.rows import insert_on, storable
from scheduler.ledger.tables import workers

# Three announcements.
AWAY_AFTER_SECONDS = 30.0
FORGOTTEN_AFTER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Presence:
    """A worker's last announcement."""

    worker: str
    ready: bool
    reason: str
    queues: tuple[str, ...]
    """Queues that the worker listens on; empty if it has not named any."""
    announced_at: float
    free: int | None = None
    """Number of tasks that the worker could begin now; None if it has not said."""

    def listens_on(self, queue: str) -> bool:
        """Whether the worker may take tasks of that queue. A worker that named no queue may take any."""
        return not self.queues or queue in self.queues


class Workers:
    """The workers that announce themselves. Any thread may call it. Every method may raise LedgerUnavailable.

    A worker is present for AWAY_AFTER_SECONDS after each announcement, by this process's monotonic clock. The stored
    time may come from another scheduler, whose clock differs by hours.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        # By worker: the stored time of its last announcement, and the time of that announcement by our clock.
        self._heard: dict[str, tuple[float, float]] = {}

    def announce(self, worker: str, *, ready: bool, reason: str, queues: Sequence[str], free: int | None) -> None:
        """Store the announcement in place of the worker's last one. Delete workers that were silent for a day."""
        with self._database.writing() as db:
            now = self._clock()
            values = {
                "ready": ready,
                "reason": storable(reason),
                "queues": json.dumps([storable(queue) for queue in queues]),
                "announced_at": now,
                "free": free,
            }
            # One statement instead of an update and an insert: two announcements at once would both insert.
            new = insert_on(db, workers).values(name=storable(worker), **values)
            db.execute(new.on_conflict_do_update(index_elements=[workers.c.name], set_=values))
            db.execute(delete(workers).where(workers.c.announced_at < now - FORGOTTEN_AFTER_SECONDS))

    def present(self) -> tuple[Presence, ...]:
        """Return the workers that have announced themselves lately, by name."""
        with self._database.reading() as db:
            return self._present(db)

    def is_another_ready(self, db: Connection, *, worker: str, queue: str) -> bool:
        """Whether a worker other than `worker` is ready for tasks of that queue. Runs in the transaction of `db`."""
        return any(one.ready and one.worker != worker and one.listens_on(queue) for one in self._present(db))

    def _present(self, db: Connection) -> tuple[Presence, ...]:
        rows = db.execute(select(workers).order_by(workers.c.name)).all()
        now, at = self._clock(), self._monotonic()
        with self._lock:
            self._heard = {row.name: self._hear(row.name, row.announced_at, now=now, at=at) for row in rows}
            self._looked_at = at
            return tuple(_presence(row) for row in rows if at - self._heard[row.name][1] < AWAY_AFTER_SECONDS)

    def _hear(self, worker: str, announced_at: float, *, now: float, at: float) -> tuple[float, float]:
        known, age = self._heard.get(worker), now - announced_at
        if known is not None and known[0] == announced_at:
            return known
        if known is None:
            # Only the stored time tells its age; a time in the future tells nothing.
            return announced_at, at - age if age > -CLOCK_TOLERANCE_SECONDS else float("-inf")
        # The announcement came after our last look, whatever the other clock says.
        return announced_at, at - min(max(age, 0.0), at - self._looked_at)


def check_workers(present: Callable[[], Sequence[Presence]]) -> None:
    """Raises InfrastructureError if no worker is present, or if one takes no tasks. The message names it and why."""
    seen = present()
    if not seen:
        raise InfrastructureError(f"no worker has announced itself for {AWAY_AFTER_SECONDS:.0f} s")
    if waiting := [one for one in seen if not one.ready]:
        ready = len(seen) - len(waiting)
        named = "; ".join(f"{one.worker}: {one.reason or 'takes no tasks'}" for one in waiting)
        raise InfrastructureError(f"{ready} of {len(seen)} workers take tasks; not {named}")


def _presence(row: Any) -> Presence:
    queues = tuple(json.loads(row.queues))
    return Presence(row.name, row.ready, row.reason, queues, row.announced_at, row.free)

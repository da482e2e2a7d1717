"""Which workers are there, and whether they take tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from alts.shared.errors import InfrastructureError
from scheduler.ledger.retry_policy import CLOCK_TOLERANCE_SECONDS
from scheduler.ledger.rows import insert_on, storable
from scheduler.ledger.tables import workers

# Three announcements.
AWAY_AFTER_SECONDS = 30.0
FORGOTTEN_AFTER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Presence:
    """What a worker has said of itself last."""

    worker: str
    ready: bool
    reason: str
    queues: tuple[str, ...]
    """Those that it listens on; none where it has not said."""
    announced_at: float
    free: int | None = None
    """How many more tasks it would begin now; None where it has not said."""

    def listens_on(self, queue: str) -> bool:
        return not self.queues or queue in self.queues


def announce(db: Connection, said: Presence) -> None:
    """Keep it in place of what the worker said before; forget who was silent for a day."""
    values = {
        "ready": said.ready,
        "reason": storable(said.reason),
        "queues": json.dumps([storable(queue) for queue in said.queues]),
        "announced_at": said.announced_at,
        "free": said.free,
    }
    # Not an update, and an insert where it finds none: two announcements at once would both insert.
    new = insert_on(db, workers).values(name=storable(said.worker), **values)
    db.execute(new.on_conflict_do_update(index_elements=[workers.c.name], set_=values))
    db.execute(delete(workers).where(workers.c.announced_at < said.announced_at - FORGOTTEN_AFTER_SECONDS))


class RollCall:
    """Which workers are there. Any thread may call it.

    A worker is there for AWAY_AFTER_SECONDS after each announcement, by this process's monotonic clock: the time that
    is written beside it may come from another scheduler, whose clock differs by hours.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        # By the worker's name: what was written beside its last announcement, and when that was made by our clock.
        self._heard: dict[str, tuple[float, float]] = {}

    def present(self, db: Connection, *, now: float) -> tuple[Presence, ...]:
        """Return the workers that have announced themselves lately, by name."""
        rows = db.execute(select(workers).order_by(workers.c.name)).all()
        at = self._monotonic()
        with self._lock:
            self._heard = {row.name: self._hear(row.name, row.announced_at, now=now, at=at) for row in rows}
            self._looked_at = at
            return tuple(_presence(row) for row in rows if at - self._heard[row.name][1] < AWAY_AFTER_SECONDS)

    def _hear(self, worker: str, announced_at: float, *, now: float, at: float) -> tuple[float, float]:
        known, age = self._heard.get(worker), now - announced_at
        if known is not None and known[0] == announced_at:
            return known
        if known is None:
            # Nothing but the written time tells how old it is; one from the future tells nothing.
            return announced_at, at - age if age > -CLOCK_TOLERANCE_SECONDS else float("-inf")
        # It was made since we looked last, whatever the other clock says.
        return announced_at, at - min(max(age, 0.0), at - self._looked_at)


def _presence(row: Any) -> Presence:
    queues = tuple(json.loads(row.queues))
    return Presence(row.name, row.ready, row.reason, queues, row.announced_at, row.free)


def somebody_else(present: Iterable[Presence], *, worker: str, queue: str) -> bool:
    """Whether another worker is ready for tasks of that queue."""
    return any(one.ready and one.worker != worker and one.listens_on(queue) for one in present)


def check_workers(present: Callable[[], Sequence[Presence]]) -> None:
    """Raises InfrastructureError where no worker is there, or one takes no tasks, saying which and why."""
    seen = present()
    if not seen:
        raise InfrastructureError("no worker has announced itself lately")
    if waiting := [one for one in seen if not one.ready]:
        ready = len(seen) - len(waiting)
        named = "; ".join(f"{one.worker}: {one.reason or 'takes no tasks'}" for one in waiting)
        raise InfrastructureError(f"{ready} of {len(seen)} workers take tasks; not {named}")

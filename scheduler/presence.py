"""Which workers are there, and whether they take tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from alts.shared.errors import InfrastructureError
from scheduler.rows import insert_on, storable
from scheduler.tables import workers

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


def announce(db: Connection, said: Presence) -> None:
    """Keep it in place of what the worker said before; forget who was silent for a day."""
    values = {
        "ready": said.ready,
        "reason": storable(said.reason),
        "queues": json.dumps([storable(queue) for queue in said.queues]),
        "announced_at": said.announced_at,
    }
    # Not an update, and an insert where it finds none: two announcements at once would both insert.
    new = insert_on(db, workers).values(name=storable(said.worker), **values)
    db.execute(new.on_conflict_do_update(index_elements=[workers.c.name], set_=values))
    db.execute(delete(workers).where(workers.c.announced_at < said.announced_at - FORGOTTEN_AFTER_SECONDS))


def present(db: Connection, *, now: float) -> tuple[Presence, ...]:
    """Who has announced itself lately, by name."""
    query = select(workers).where(workers.c.announced_at > now - AWAY_AFTER_SECONDS).order_by(workers.c.name)
    return tuple(
        Presence(row.name, row.ready, row.reason, tuple(json.loads(row.queues)), row.announced_at)
        for row in db.execute(query)
    )


def somebody_else(db: Connection, *, worker: str, queue: str, now: float) -> bool:
    """Whether another worker is ready for tasks of that queue."""
    return any(
        one.ready and one.worker != worker and (not one.queues or queue in one.queues) for one in present(db, now=now)
    )


def check_workers(present: Callable[[], Sequence[Presence]]) -> None:
    """Raises InfrastructureError where no worker is there, or one takes no tasks, saying which and why."""
    seen = present()
    if not seen:
        raise InfrastructureError("no worker has announced itself lately")
    if waiting := [one for one in seen if not one.ready]:
        ready = len(seen) - len(waiting)
        named = "; ".join(f"{one.worker}: {one.reason or 'takes no tasks'}" for one in waiting)
        raise InfrastructureError(f"{ready} of {len(seen)} workers take tasks; not {named}")

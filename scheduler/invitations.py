"""The outbox: invitations that are written down and still to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from alts.shared.ledger import TaskState
from scheduler.history import Entry, Event, note_all
from scheduler.tables import outbox, tasks


@dataclass(frozen=True)
class Invitation:
    """A message that is to be sent: "come and claim this task"."""

    entry: int
    task_id: str
    queue: str


def put(db: Connection, task_id: str, queue: str, *, due_at: float) -> None:
    """Write one down; the task has none."""
    db.execute(insert(outbox).values(task_id=task_id, queue=queue, due_at=due_at))


def withdraw(db: Connection, task_id: str) -> None:
    """Strike out what is there for the task."""
    db.execute(delete(outbox).where(outbox.c.task_id == task_id))


def due(db: Connection, *, now: float, limit: int) -> tuple[Invitation, ...]:
    """Those to be sent by now, the longest due first."""
    query = (
        select(outbox.c.entry, outbox.c.task_id, outbox.c.queue)
        .where(outbox.c.due_at <= now)
        .order_by(outbox.c.due_at, outbox.c.entry)
        .limit(limit)
    )
    return tuple(Invitation(row.entry, row.task_id, row.queue) for row in db.execute(query))


def sent(db: Connection, invitations: Iterable[Invitation], *, now: float) -> None:
    """Strike them out; the tasks that nobody claimed meanwhile are QUEUED now."""
    entries = {invitation.entry: invitation.task_id for invitation in invitations}
    # The tasks first, and in order: whoever claims one does the same, and nobody waits in a circle.
    locked = select(tasks.c.id).where(tasks.c.id.in_(sorted(set(entries.values())))).order_by(tasks.c.id)
    db.execute(locked.with_for_update()).all()
    struck = delete(outbox).where(outbox.c.entry.in_(entries)).returning(outbox.c.task_id)
    queued = (
        update(tasks)
        .where(tasks.c.id.in_([row.task_id for row in db.execute(struck)]), tasks.c.state == TaskState.ACCEPTED)
        .values(state=TaskState.QUEUED, resend_at=now + tasks.c.resend_interval, updated_at=now)
        .returning(tasks.c.id, tasks.c.attempt)
    )
    note_all(
        db,
        [
            (row.id, Entry(at=now, event=Event.SENT, state=TaskState.QUEUED, attempt=row.attempt))
            for row in db.execute(queued)
        ],
    )


def postpone(db: Connection, invitation: Invitation, *, until: float) -> None:
    """Not to be sent before."""
    db.execute(update(outbox).where(outbox.c.entry == invitation.entry).values(due_at=until))

"""The outbox: invitations that are written down and still to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from alts.shared.models.ledger import TaskState
from scheduler.ledger.history import Entry, Event, is_noted, note_all
from scheduler.ledger.tables import outbox, tasks


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
    """Those to be sent by now that no relay has taken, the longest due first."""
    query = (
        select(outbox.c.entry, outbox.c.task_id, outbox.c.queue)
        .where(outbox.c.due_at <= now, outbox.c.taken_until <= now)
        .order_by(outbox.c.due_at, outbox.c.entry)
        .limit(limit)
    )
    return tuple(Invitation(row.entry, row.task_id, row.queue) for row in db.execute(query))


def take(db: Connection, wanted: Sequence[Invitation], *, relay: str, now: float, until: float) -> set[int]:
    """Keep them from other relays until then; the entries that are ours now, and nobody else's."""
    free = (
        select(outbox.c.entry)
        .where(outbox.c.entry.in_([one.entry for one in wanted]), outbox.c.taken_until <= now)
        .order_by(outbox.c.entry)
        # Of two relays that want the same ones each gets what it comes to first; neither waits for the other.
        .with_for_update(skip_locked=True)
    )
    entries = set(db.execute(free).scalars())
    if entries:
        db.execute(update(outbox).where(outbox.c.entry.in_(entries)).values(taken_by=relay, taken_until=until))
    return entries


def recall(db: Connection, *, now: float, latest: float) -> tuple[str, ...]:
    """Let what is due, or taken, later than `latest` be due and free now; return the ids of the tasks."""
    late = update(outbox).where(outbox.c.due_at > latest).values(due_at=now).returning(outbox.c.task_id)
    held = update(outbox).where(outbox.c.taken_until > latest).values(taken_by=None, taken_until=0.0)
    return (*db.execute(late).scalars(), *db.execute(held.returning(outbox.c.task_id)).scalars())


def give_back(db: Connection, taken: Iterable[Invitation], *, relay: str) -> None:
    """For any relay to take at once; those that another one has taken meanwhile are left to it."""
    entries = [one.entry for one in taken]
    ours = outbox.c.entry.in_(entries), outbox.c.taken_by == relay
    db.execute(update(outbox).where(*ours).values(taken_by=None, taken_until=0.0))


def sent(db: Connection, invitations: Iterable[Invitation], *, now: float) -> None:
    """Strike them out; the tasks that nobody claimed meanwhile are QUEUED now."""
    entries = {invitation.entry: invitation.task_id for invitation in invitations}
    # The tasks first, and in order, as a claim does: that avoids deadlocks.
    locked = select(tasks.c.id).where(tasks.c.id.in_(sorted(set(entries.values())))).order_by(tasks.c.id)
    db.execute(locked.with_for_update()).all()
    struck = delete(outbox).where(outbox.c.entry.in_(entries)).returning(outbox.c.task_id)
    queued = (
        update(tasks)
        .where(tasks.c.id.in_([row.task_id for row in db.execute(struck)]), tasks.c.state == TaskState.ACCEPTED)
        .values(state=TaskState.QUEUED, resend_at=now + tasks.c.resend_interval, updated_at=now)
        .returning(tasks.c.id, tasks.c.attempt, tasks.c.declined)
    )
    note_all(
        db,
        [
            (row.id, Entry(at=now, event=Event.SENT, state=TaskState.QUEUED, attempt=row.attempt))
            for row in db.execute(queued)
            # Each time that it is declined it is sent again; of those the history has the same ones.
            if is_noted(row.declined)
        ],
    )


def postpone(db: Connection, invitation: Invitation, *, until: float) -> None:
    """Not to be sent before."""
    later = {"due_at": until, "taken_by": None, "taken_until": 0.0}
    db.execute(update(outbox).where(outbox.c.entry == invitation.entry).values(later))

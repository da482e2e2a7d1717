"""The outbox: invitations that are written down and still to be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from alts.shared.models.ledger import TaskState
from scheduler.ledger.database import Database
from scheduler.ledger.event import Event
from scheduler.ledger.history import Entry, is_noted, note_all
from scheduler.ledger.tables import outbox, tasks


@dataclass(frozen=True)
class Invitation:
    """A message to be sent: "claim this task"."""

    entry: int
    """Number of the outbox entry; a task's next invitation has another one."""
    task_id: str
    queue: str


class Outbox:
    """The relay's side of the outbox. Every method may raise LedgerUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def due(self, *, limit: int) -> tuple[Invitation, ...]:
        """Return the due invitations that no relay has taken, the longest due first."""
        now = self._clock()
        query = (
            select(outbox.c.entry, outbox.c.task_id, outbox.c.queue)
            .where(outbox.c.due_at <= now, outbox.c.taken_until <= now)
            .order_by(outbox.c.due_at, outbox.c.entry)
            .limit(limit)
        )
        with self._database.reading() as db:
            return tuple(Invitation(*row) for row in db.execute(query))

    def take(self, wanted: Sequence[Invitation], *, relay: str, seconds: float) -> tuple[Invitation, ...]:
        """Reserve invitations for a relay for that many seconds. Return those that no other relay has.

        `relay`: the relay's id, a UUID.
        """
        if not wanted:
            return ()
        now = self._clock()
        free = (
            select(outbox.c.entry)
            .where(outbox.c.entry.in_([one.entry for one in wanted]), outbox.c.taken_until <= now)
            .order_by(outbox.c.entry)
            # Two relays that want the same entries do not wait for each other: each gets those that it locks first.
            .with_for_update(skip_locked=True)
        )
        with self._database.writing() as db:
            taken = set(db.execute(free).scalars())
            if taken:
                reserved = {"taken_by": relay, "taken_until": now + seconds}
                db.execute(update(outbox).where(outbox.c.entry.in_(taken)).values(reserved))
        return tuple(one for one in wanted if one.entry in taken)

    def give_back(self, taken: Iterable[Invitation], *, relay: str) -> None:
        """Release invitations for any relay to take at once, except those that another relay has taken meanwhile."""
        ours = outbox.c.entry.in_([one.entry for one in taken]), outbox.c.taken_by == relay
        with self._database.writing() as db:
            db.execute(update(outbox).where(*ours).values(taken_by=None, taken_until=0.0))

    def mark_sent(self, sent: Iterable[Invitation]) -> None:
        """Delete sent invitations. Their tasks become QUEUED unless a worker has claimed them meanwhile."""
        with self._database.writing() as db:
            _mark_sent(db, {invitation.entry: invitation.task_id for invitation in sent}, now=self._clock())

    def postpone(self, invitation: Invitation, *, seconds: float) -> None:
        """Delay an invitation that cannot be sent, so that it does not hold up the others."""
        later = {"due_at": self._clock() + seconds, "taken_by": None, "taken_until": 0.0}
        with self._database.writing() as db:
            db.execute(update(outbox).where(outbox.c.entry == invitation.entry).values(later))


def put(db: Connection, task_id: str, queue: str, *, due_at: float) -> None:
    """Write the task's invitation. The task must have none."""
    put_all(db, [(task_id, queue)], due_at=due_at)


def put_all(db: Connection, wanted: Iterable[tuple[str, str]], *, due_at: float) -> None:
    """Write invitations, given as (task id, queue). Their tasks must have none."""
    db.execute(insert(outbox), [{"task_id": task_id, "queue": queue, "due_at": due_at} for task_id, queue in wanted])


def withdraw(db: Connection, task_id: str) -> None:
    """Delete the task's invitation, if there is one."""
    db.execute(delete(outbox).where(outbox.c.task_id == task_id))


def recall(db: Connection, *, now: float, latest: float) -> tuple[str, ...]:
    """Make entries that are due, or taken, until after `latest` due and free now. Return the ids of their tasks."""
    late = update(outbox).where(outbox.c.due_at > latest).values(due_at=now).returning(outbox.c.task_id)
    held = update(outbox).where(outbox.c.taken_until > latest).values(taken_by=None, taken_until=0.0)
    return (*db.execute(late).scalars(), *db.execute(held.returning(outbox.c.task_id)).scalars())


def _mark_sent(db: Connection, entries: dict[int, str], *, now: float) -> None:
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
            # An invitation is sent again after each decline; the history has the same repetitions of both.
            if is_noted(row.declined)
        ],
    )

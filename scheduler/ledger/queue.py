"""Queued tasks, and new invitations for those whose invitation had no effect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select

from alts.shared.models.ledger import TaskState
from scheduler.ledger import outbox
from scheduler.ledger.database import Database
from scheduler.ledger.event import Event
from scheduler.ledger.history import note
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import change, lock_rows
from scheduler.ledger.tables import tasks
from scheduler.ledger.transitions import entry_of


@dataclass(frozen=True)
class Waiting:
    """A task that waits for a worker."""

    task_id: str
    queue: str


class Queue:
    """The tasks whose invitation was sent. Every method may raise LedgerUnavailable."""

    def __init__(
        self, database: Database, rules: LedgerRules, *, clock: Callable[[], float], outbox_filled: threading.Event
    ) -> None:
        """`outbox_filled` is set after every transaction that wrote an invitation."""
        self._database = database
        self._rules = rules
        self._clock = clock
        self._outbox_filled = outbox_filled

    def longest_queued(self, *, limit: int) -> tuple[Waiting, ...]:
        """Return QUEUED tasks by the time of their next resend: the first sent, or least often resent, come first."""
        query = select(tasks.c.id, tasks.c.queue).where(tasks.c.state == TaskState.QUEUED)
        with self._database.reading() as db:
            return tuple(Waiting(*row) for row in db.execute(query.order_by(tasks.c.resend_at).limit(limit)))

    def resend_lost(self) -> tuple[str, ...]:
        """Invite again for tasks whose invitation no worker followed in time; return the tasks' ids.

        Each resend doubles the wait, so that messages don't pile up in a queue that is merely long.
        """
        return self._invite_again(tasks.c.resend_at <= self._clock(), interval_factor=2)

    def recall_far_ahead(self) -> tuple[str, ...]:
        """Make tasks and invitations due now if their time lies implausibly far ahead; return the tasks' ids.

        Such times were written while a clock was ahead: by this process before a restart, or by another scheduler.
        See LedgerRules.longest_wait. `resend_at` may lie ahead by the task's resend_interval.
        """
        now = self._clock()
        latest = now + self._rules.longest_wait
        with self._database.writing() as db:
            recalled = outbox.recall(db, now=now, latest=latest)
        if recalled:
            self._outbox_filled.set()
        # The second condition implies the first, which can use the index.
        waits = self._rules.resend_after, tasks.c.resend_interval
        late = (tasks.c.resend_at > latest + wait for wait in waits)
        return (*recalled, *self._invite_again(*late, interval_factor=1))

    def requeue_all(self) -> tuple[str, ...]:
        """Invite again for every QUEUED task, after the broker lost its messages; return the tasks' ids."""
        return self._invite_again(tasks.c.state == TaskState.QUEUED, interval_factor=1)

    def _invite_again(self, *conditions: ColumnElement[bool], interval_factor: int) -> tuple[str, ...]:
        now = self._clock()
        with self._database.writing() as db:
            rows = lock_rows(db, tasks.c.state == TaskState.QUEUED, *conditions)
            for row in rows:
                interval = row.resend_interval * interval_factor
                change(db, row, now=now, state=TaskState.ACCEPTED, resend_at=None, resend_interval=interval)
                outbox.put(db, row.task_id, row.queue, due_at=now)
                note(db, row.task_id, entry_of(row, Event.RESENT, TaskState.ACCEPTED, now=now))
        if rows:
            self._outbox_filled.set()
        return tuple(row.task_id for row in rows)

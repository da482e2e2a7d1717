"""Leases of running tasks, and their expiry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from alts.shared.models.ledger import TaskState
from scheduler.ledger import closing_report
from scheduler.ledger.database import Database
from scheduler.ledger.event import Event
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import batches, lock_rows
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import TaskRow
from scheduler.ledger.transitions import accept_again, avoiding_its_worker, entry_of, finish


@dataclass(frozen=True)
class Lease:
    """A worker's right to an attempt. `expires_at` changes with every heartbeat."""

    task_id: str
    attempt: int
    expires_at: float | None


class Leases:
    """The reconciler's view of running tasks. Every method may raise LedgerUnavailable."""

    def __init__(
        self, database: Database, rules: LedgerRules, *, clock: Callable[[], float], outbox_filled: threading.Event
    ) -> None:
        """`outbox_filled` is set after every transaction that wrote an invitation."""
        self._database = database
        self._rules = rules
        self._clock = clock
        self._outbox_filled = outbox_filled

    def held(self) -> tuple[Lease, ...]:
        """Return the leases of all running tasks."""
        query = select(tasks.c.id, tasks.c.attempt, tasks.c.lease_expires_at)
        with self._database.reading() as db:
            return tuple(Lease(*row) for row in db.execute(query.where(tasks.c.state == TaskState.RUNNING)))

    def expire(self, lapsed: Iterable[Lease]) -> tuple[str, ...]:
        """Take the tasks with these leases away from their workers; return the tasks' ids.

        A lease that was prolonged meanwhile is left alone. The other tasks get their next attempt at once, or are
        FINISHED: ERRORED if no attempt is left, CANCELLED if the caller asked for that.
        """
        now, known = self._clock(), {lease.task_id: lease for lease in lapsed}
        expired: list[str] = []
        with self._database.writing() as db:
            for chosen in batches(list(known)):
                for row in lock_rows(db, tasks.c.state == TaskState.RUNNING, tasks.c.id.in_(chosen)):
                    if known[row.task_id] == Lease(row.task_id, row.attempt, row.lease_expires_at):
                        self._lose(db, row, now=now)
                        expired.append(row.task_id)
        if expired:
            self._outbox_filled.set()
        return tuple(expired)

    def _lose(self, db: Connection, row: TaskRow, *, now: float) -> None:
        if row.cancel_requested:
            finish(db, row, closing_report.cancelled(row, now=now), Event.LOST, now=now)
        elif row.attempts_used < self._rules.max_attempts:
            reason = f"the worker {row.worker} stopped answering"
            entry = entry_of(row, Event.LOST, TaskState.ACCEPTED, now=now, reason=reason)
            accept_again(db, row, entry, self._rules, **avoiding_its_worker(row, self._rules, now=now))
        else:
            finish(db, row, closing_report.worker_lost(row, now=now), Event.LOST, now=now)

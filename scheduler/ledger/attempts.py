"""Attempts as their workers see them: claimed, prolonged, reported or handed back."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, select, update

from alts.shared.errors import StaleAttempt
from alts.shared.models.ledger import Assignment, TaskState
from alts.shared.models.report import REPORT, Outcome, Report, StageResult
from scheduler.ledger import closing_report, outbox
from scheduler.ledger.database import Database
from scheduler.ledger.event import Event
from scheduler.ledger.history import attempts_of, entries_of, is_noted, note
from scheduler.ledger.presence import Workers
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import batches, is_id, owned, row_of, storable
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import STAGES, TaskRow
from scheduler.ledger.transitions import WAITING, accept_again, avoiding_its_worker, entry_of, finish, invite_later


class Attempts:
    """The workers' side of the ledger. Implements alts.shared.models.ledger.Ledger, which documents the methods.

    Every method may raise LedgerUnavailable.
    """

    def __init__(
        self,
        database: Database,
        rules: LedgerRules,
        workers: Workers,
        *,
        clock: Callable[[], float],
        outbox_filled: threading.Event,
    ) -> None:
        """`outbox_filled` is set after decline, report and release; the relay's poll finds other invitations."""
        self._database = database
        self._rules = rules
        self._workers = workers
        self._clock = clock
        self._outbox_filled = outbox_filled

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """Begin the task's next attempt. A request that this version no longer accepts ends the task instead."""
        now = self._clock()
        digest = hashlib.sha256(key.encode()).hexdigest() if key else None
        with self._database.writing() as db:
            row = row_of(db, task_id, lock=True)
            if row is None:
                return None
            if row.state is TaskState.RUNNING and digest and row.claim_digest == digest:
                return self._assignment(db, row)
            if not self._is_open(row, now=now):
                return None
            if not _is_readable(row):
                finish(db, row, closing_report.not_readable(row, now=now), Event.CLOSED, now=now)
                return None
            if self._is_avoided(db, row, worker, now=now):
                invite_later(db, row, now=now, wait=self._rules.decline_wait(0))
                return None
            return self._assignment(db, self._begin(db, row, worker, digest, now=now))

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        """Offer the task again after a delay that doubles with each decline."""
        now = self._clock()
        with self._database.writing() as db:
            row = row_of(db, task_id, lock=True)
            if row is None or not self._is_open(row, now=now):
                return
            invite_later(db, row, now=now, wait=self._rules.decline_wait(row.declined), declined=row.declined + 1)
            if is_noted(row.declined + 1):
                entry = entry_of(row, Event.DECLINED, TaskState.ACCEPTED, now=now, reason=reason)
                note(db, task_id, replace(entry, worker=worker))
        self._outbox_filled.set()

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """Prolong the lease. Without `progress`, the stored stages stay as they are."""
        now = self._clock()
        values: dict[str, Any] = {"lease_expires_at": now + self._rules.lease_seconds, "updated_at": now}
        if progress:
            values["progress"] = STAGES.dump_json(progress).decode()
        with self._database.writing() as db:
            cancel: bool | None = db.execute(
                update(tasks)
                .where(tasks.c.id == task_id, tasks.c.state == TaskState.RUNNING, tasks.c.attempt == attempt)
                .values(values)
                .returning(tasks.c.cancel_requested)
            ).scalar_one_or_none()
        if cancel is None:
            raise _stale(attempt)
        return cancel

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        """End the attempt: the task is tried again if the report says so and an attempt is left, else FINISHED."""
        if (report.task_id, report.attempt) != (task_id, attempt):
            raise StaleAttempt(f"the report is for attempt {report.attempt} of {report.task_id}")
        now = self._clock()
        digest = hashlib.sha256(REPORT.dump_json(report)).hexdigest()
        with self._database.writing() as db:
            row = owned(db, task_id, attempt)
            if row is None:
                return _earlier_answer(db, task_id, attempt, digest)
            if row.cancel_requested and report.outcome is Outcome.ERRORED:
                reason = f"cancelled on request ({report.reason})"
                report = replace(report, outcome=Outcome.CANCELLED, reason=reason, retryable=False)
            again = report.outcome is Outcome.ERRORED and report.retryable
            if again and row.attempts_used < self._rules.max_attempts:
                self._retry(db, row, report, digest, now=now)
                outcome = None
            else:
                finish(db, row, report, Event.REPORTED, now=now, report_digest=digest)
                outcome = report.outcome
        self._outbox_filled.set()
        return outcome

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """Hand the task back. The attempt does not count against max_attempts."""
        now = self._clock()
        with self._database.writing() as db:
            row = owned(db, task_id, attempt)
            if row is None:
                raise _stale(attempt)
            if row.cancel_requested:
                finish(db, row, closing_report.cancelled(row, now=now), Event.RELEASED, now=now)
            else:
                entry = entry_of(row, Event.RELEASED, TaskState.ACCEPTED, now=now, reason=reason)
                accept_again(db, row, entry, self._rules, released=row.released + 1)
        self._outbox_filled.set()

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        """Store the worker's presence in place of its last announcement."""
        self._workers.announce(worker, ready=ready, reason=reason, queues=queues, free=free)

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return those (task id, attempt) that are known and no longer own their task."""
        ids = sorted({task_id for task_id, _ in attempts if is_id(task_id)})
        known: dict[str, tuple[int, bool]] = {}
        columns = tasks.c.id, tasks.c.attempt, tasks.c.state
        with self._database.reading() as db:
            for chosen in batches(ids):
                for row in db.execute(select(*columns).where(tasks.c.id.in_(chosen))):
                    known[row.id] = row.attempt, row.state is TaskState.RUNNING
        return {(task_id, attempt) for task_id, attempt in attempts if _is_over(attempt, known.get(task_id))}

    def _is_open(self, row: TaskRow, *, now: float) -> bool:
        """Whether a task waits for a worker. An ACCEPTED task may not be due yet; a QUEUED task was due already."""
        if row.state is TaskState.ACCEPTED:
            return not self._rules.is_ahead(row.due_at, now=now)
        return row.state is TaskState.QUEUED

    def _is_avoided(self, db: Connection, row: TaskRow, worker: str, *, now: float) -> bool:
        """Whether the last attempt failed on this worker and another worker is ready."""
        until = row.avoided_until
        if row.avoided_worker != storable(worker) or until is None or not self._rules.is_ahead(until, now=now):
            return False
        return self._workers.is_another_ready(db, worker=storable(worker), queue=row.queue)

    def _begin(self, db: Connection, row: TaskRow, worker: str, digest: str | None, *, now: float) -> TaskRow:
        begun = replace(
            row,
            state=TaskState.RUNNING,
            attempt=row.attempt + 1,
            worker=storable(worker),
            started_at=now if row.started_at is None else row.started_at,
        )
        db.execute(
            update(tasks)
            .where(tasks.c.id == row.task_id, tasks.c.state.in_(WAITING), tasks.c.attempt == row.attempt)
            .values(
                state=begun.state,
                attempt=begun.attempt,
                worker=begun.worker,
                claim_digest=digest,
                lease_expires_at=now + self._rules.lease_seconds,
                started_at=begun.started_at,
                progress="[]",
                resend_at=None,
                declined=0,
                avoided_worker=None,
                avoided_until=None,
                updated_at=now,
            )
        )
        # The invitation may not be marked as sent yet, or may have been written a second time.
        outbox.withdraw(db, row.task_id)
        note(db, row.task_id, entry_of(begun, Event.CLAIMED, TaskState.RUNNING, now=now))
        return begun

    def _assignment(self, db: Connection, row: TaskRow) -> Assignment:
        earlier = attempts_of(entries_of(db, row.task_id)) if row.attempt > 1 else ()
        return Assignment(
            task_id=row.task_id,
            attempt=row.attempt,
            spec=row.spec,
            lease_seconds=self._rules.lease_seconds,
            earlier=earlier,
        )

    def _retry(self, db: Connection, row: TaskRow, report: Report, digest: str, *, now: float) -> None:
        delay = self._rules.retry_wait(row.attempts_used)
        entry = entry_of(row, Event.REPORTED, TaskState.ACCEPTED, now=now, reason=report.reason)
        entry = replace(entry, outcome=report.outcome, artifacts=report.artifacts)
        avoiding = avoiding_its_worker(row, self._rules, now=now + delay)
        accept_again(db, row, entry, self._rules, delay=delay, report_digest=digest, **avoiding)


def _earlier_answer(db: Connection, task_id: str, attempt: int, digest: str) -> Outcome | None:
    """Return the answer to a report that was accepted before. Raises StaleAttempt for any other report."""
    heard = select(tasks.c.outcome).where(tasks.c.id == task_id, tasks.c.report_digest == digest)
    answer = db.execute(heard).one_or_none()
    if answer is None:
        raise _stale(attempt)
    outcome: Outcome | None = answer.outcome
    return outcome


def _is_readable(row: TaskRow) -> bool:
    try:
        return bool(row.spec)
    except ValidationError:
        return False


def _is_over(attempt: int, known: tuple[int, bool] | None) -> bool:
    if known is None or not 1 <= attempt <= known[0]:
        return False
    last, running = known
    return attempt < last or not running


def _stale(attempt: int) -> StaleAttempt:
    return StaleAttempt(f"attempt {attempt} no longer owns the task")

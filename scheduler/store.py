"""The ledger on SQL: the truth about tasks. Every transition is one conditional change in one transaction.

What always holds: a task has an entry in the outbox exactly while it is ACCEPTED. The entry and the state change
together, so a crash between writing and sending loses nothing: the entry is still there.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, delete, insert, select, update

from alts.shared.errors import StaleAttempt, TaskFinished, UnknownTask
from alts.shared.ledger import Assignment, TaskState
from alts.shared.report import REPORT, Outcome, Report, StageResult
from alts.shared.spec import TaskSpec
from scheduler import closing_report
from scheduler.database import Database
from scheduler.tables import outbox, tasks
from scheduler.task_row import STAGES, TaskRow

WAITING = (TaskState.ACCEPTED, TaskState.QUEUED)


@dataclass(frozen=True)
class Invitation:
    """A message that is to be sent: "come and claim this task"."""

    entry: int
    task_id: str
    queue: str


@dataclass(frozen=True, kw_only=True)
class LedgerRules:
    """How long things may take, in seconds, and how often they are tried."""

    lease_seconds: float = 30.0
    max_attempts: int = 3
    retry_delay: float = 10.0
    resend_after: float = 600.0


class SqlLedger:
    """Implements alts.shared.ledger.Ledger, and what the scheduler needs beyond it.

    Every method may raise LedgerUnavailable. `outbox_filled` is set whenever an invitation was written.
    """

    def __init__(
        self,
        database: Database,
        rules: LedgerRules,
        *,
        clock: Callable[[], float] = time.time,
        outbox_filled: threading.Event | None = None,
    ) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._outbox_filled = outbox_filled or threading.Event()

    # what callers ask

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str) -> str:
        """Write down a task and the wish to send its invitation; both are on disk when this returns the task's id."""
        task_id = str(uuid.uuid4())
        now = self._clock()
        with self._database.writing() as db:
            db.execute(
                insert(tasks).values(
                    id=task_id,
                    spec=spec.model_dump_json(),
                    queue=queue,
                    submitted_by=_storable(submitted_by),
                    state=TaskState.ACCEPTED,
                    due_at=now,
                    resend_interval=self._rules.resend_after,
                    created_at=now,
                    updated_at=now,
                )
            )
            db.execute(insert(outbox).values(task_id=task_id, queue=queue, due_at=now))
        self._outbox_filled.set()
        return task_id

    def get(self, task_id: str) -> TaskRow:
        """Raises UnknownTask."""
        with self._database.reading() as db:
            row = _row(db, task_id)
        if row is None:
            raise UnknownTask(f"no task has the id {task_id[:50]}")
        return row

    def request_cancel(self, task_id: str) -> TaskRow:
        """End a waiting task at once, ask the worker of a running one to stop; the task as it is then.

        Raises UnknownTask or TaskFinished.
        """
        now = self._clock()
        with self._database.writing() as db:
            row = _row(db, task_id, lock=True)
            if row is None:
                raise UnknownTask(f"no task has the id {task_id[:50]}")
            if row.state is TaskState.FINISHED:
                raise TaskFinished(f"the task has ended already: {row.outcome}")
            if row.state is TaskState.RUNNING:
                _change(db, row, now=now, cancel_requested=True)
            else:
                self._finish(db, row, closing_report.cancelled(row, now=now), now=now, cancel_requested=True)
        return self.get(task_id)

    # what workers say

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """See alts.shared.ledger.Ledger."""
        now = self._clock()
        digest = hashlib.sha256(key.encode()).hexdigest() if key else None
        with self._database.writing() as db:
            row = _row(db, task_id, lock=True)
            if row and row.state is TaskState.RUNNING and digest and row.claim_digest == digest:
                return Assignment(
                    task_id=task_id, attempt=row.attempt, spec=row.spec, lease_seconds=self._rules.lease_seconds
                )
            if row is None or row.state not in WAITING or row.due_at > now:
                return None
            try:
                spec = row.spec
            except ValidationError:
                self._finish(db, row, closing_report.not_readable(row, now=now), now=now)
                return None
            changed = _change(
                db,
                row,
                now=now,
                state=TaskState.RUNNING,
                attempt=row.attempt + 1,
                worker=_storable(worker),
                claim_digest=digest,
                lease_expires_at=now + self._rules.lease_seconds,
                started_at=now if row.started_at is None else row.started_at,
                progress="[]",
                resend_at=None,
            )
            if not changed:
                return None
            # The invitation may not be marked as sent yet, or lie there a second time: it has done its work.
            db.execute(delete(outbox).where(outbox.c.task_id == task_id))
        return Assignment(task_id=task_id, attempt=row.attempt + 1, spec=spec, lease_seconds=self._rules.lease_seconds)

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """See alts.shared.ledger.Ledger. Without progress, what was shown before stays."""
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
        """See alts.shared.ledger.Ledger."""
        if (report.task_id, report.attempt) != (task_id, attempt):
            raise StaleAttempt(f"the report is of attempt {report.attempt} of {report.task_id}")
        now = self._clock()
        digest = hashlib.sha256(REPORT.dump_json(report)).hexdigest()
        with self._database.writing() as db:
            row = _owned(db, task_id, attempt)
            if row is None:
                heard = select(tasks.c.outcome).where(tasks.c.id == task_id, tasks.c.report_digest == digest)
                answer = db.execute(heard).one_or_none()
                if answer is None:
                    raise _stale(attempt)
                return None if answer.outcome is None else Outcome(answer.outcome)
            if row.cancel_requested and report.outcome is Outcome.ERRORED:
                reason = f"cancelled on request ({report.reason})"
                report = replace(report, outcome=Outcome.CANCELLED, reason=reason, retryable=False)
            again = report.outcome is Outcome.ERRORED and report.retryable
            if again and row.attempts_used < self._rules.max_attempts:
                self._accept_again(
                    db, row, now=now, delay=self._rules.retry_delay, reason=report.reason, report_digest=digest
                )
                outcome = None
            else:
                self._finish(db, row, report, now=now, report_digest=digest)
                outcome = report.outcome
        self._outbox_filled.set()
        return outcome

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """See alts.shared.ledger.Ledger. The attempt does not count against max_attempts."""
        now = self._clock()
        with self._database.writing() as db:
            row = _owned(db, task_id, attempt)
            if row is None:
                raise _stale(attempt)
            if row.cancel_requested:
                self._finish(db, row, closing_report.cancelled(row, now=now), now=now)
            else:
                self._accept_again(db, row, now=now, reason=reason, released=row.released + 1)
        self._outbox_filled.set()

    # what the relay does

    def due_invitations(self, *, limit: int) -> tuple[Invitation, ...]:
        """Those to be sent by now, the longest due first."""
        query = (
            select(outbox.c.entry, outbox.c.task_id, outbox.c.queue)
            .where(outbox.c.due_at <= self._clock())
            .order_by(outbox.c.due_at, outbox.c.entry)
            .limit(limit)
        )
        with self._database.reading() as db:
            return tuple(Invitation(row.entry, row.task_id, row.queue) for row in db.execute(query))

    def mark_sent(self, invitations: Iterable[Invitation]) -> None:
        """Strike them out; the tasks that nobody claimed meanwhile are QUEUED now."""
        now = self._clock()
        with self._database.writing() as db:
            for invitation in invitations:
                if db.execute(delete(outbox).where(outbox.c.entry == invitation.entry)).rowcount:
                    db.execute(
                        update(tasks)
                        .where(tasks.c.id == invitation.task_id, tasks.c.state == TaskState.ACCEPTED)
                        .values(state=TaskState.QUEUED, resend_at=now + tasks.c.resend_interval, updated_at=now)
                    )

    def postpone(self, invitation: Invitation, *, seconds: float) -> None:
        """Try this one again later: it cannot be sent, and must not stand in the way of the others."""
        with self._database.writing() as db:
            db.execute(update(outbox).where(outbox.c.entry == invitation.entry).values(due_at=self._clock() + seconds))

    # what the reconciler does

    def expire_leases(self) -> tuple[str, ...]:
        """Take the tasks whose workers stopped answering away from them; the tasks' ids.

        They get their next attempt at once, or are FINISHED: ERRORED where no attempt is left, CANCELLED where
        somebody had asked for that.
        """
        now = self._clock()
        lapsed = tasks.c.state == TaskState.RUNNING, tasks.c.lease_expires_at < now
        with self._database.writing() as db:
            rows = [TaskRow.of(row) for row in db.execute(select(tasks).where(*lapsed).with_for_update())]
            for row in rows:
                if row.cancel_requested:
                    self._finish(db, row, closing_report.cancelled(row, now=now), now=now)
                elif row.attempts_used < self._rules.max_attempts:
                    self._accept_again(db, row, now=now, reason=f"the worker {row.worker} stopped answering")
                else:
                    self._finish(db, row, closing_report.worker_lost(row, now=now), now=now)
        if rows:
            self._outbox_filled.set()
        return tuple(row.task_id for row in rows)

    def resend_lost(self) -> tuple[str, ...]:
        """Invite again for tasks whose invitation nobody followed in time; the tasks' ids.

        Each time the wait doubles: where the queue is only long, messages must not pile up.
        """
        return self._queue_again(tasks.c.resend_at <= self._clock(), interval_factor=2)

    def requeue_all(self) -> tuple[str, ...]:
        """Invite again for every QUEUED task, because the broker has forgotten all; the tasks' ids."""
        return self._queue_again(tasks.c.state == TaskState.QUEUED, interval_factor=1)

    def check(self) -> None:
        """Raises LedgerUnavailable."""
        with self._database.reading() as db:
            db.execute(select(tasks.c.id).limit(1))

    def close(self) -> None:
        """Give the database's connections back."""
        self._database.close()

    # the two ways out of RUNNING, and the way back to the outbox

    def _finish(self, db: Connection, row: TaskRow, report: Report, *, now: float, **more: Any) -> None:
        _change(
            db,
            row,
            now=now,
            state=TaskState.FINISHED,
            outcome=report.outcome,
            reason=_storable(report.reason),
            report=report.to_json(),
            progress=STAGES.dump_json(report.stages).decode(),
            finished_at=now,
            lease_expires_at=None,
            resend_at=None,
            **more,
        )
        db.execute(delete(outbox).where(outbox.c.task_id == row.task_id))

    def _accept_again(
        self, db: Connection, row: TaskRow, *, now: float, reason: str, delay: float = 0.0, **more: Any
    ) -> None:
        _change(
            db,
            row,
            now=now,
            state=TaskState.ACCEPTED,
            reason=_storable(reason),
            due_at=now + delay,
            lease_expires_at=None,
            resend_interval=self._rules.resend_after,
            **more,
        )
        db.execute(insert(outbox).values(task_id=row.task_id, queue=row.queue, due_at=now + delay))

    def _queue_again(self, which: Any, *, interval_factor: int) -> tuple[str, ...]:
        now = self._clock()
        chosen = tasks.c.state == TaskState.QUEUED, which
        with self._database.writing() as db:
            rows = [TaskRow.of(row) for row in db.execute(select(tasks).where(*chosen).with_for_update())]
            for row in rows:
                interval = row.resend_interval * interval_factor
                _change(db, row, now=now, state=TaskState.ACCEPTED, resend_at=None, resend_interval=interval)
                db.execute(insert(outbox).values(task_id=row.task_id, queue=row.queue, due_at=now))
        if rows:
            self._outbox_filled.set()
        return tuple(row.task_id for row in rows)


def _row(db: Connection, task_id: str, *, lock: bool = False) -> TaskRow | None:
    if not _is_id(task_id):
        return None
    query = select(tasks).where(tasks.c.id == task_id)
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else TaskRow.of(row)


def _owned(db: Connection, task_id: str, attempt: int) -> TaskRow | None:
    row = _row(db, task_id, lock=True)
    return row if row and row.state is TaskState.RUNNING and row.attempt == attempt else None


def _change(db: Connection, row: TaskRow, *, now: float, **values: Any) -> bool:
    """Change the task, if it is still in the state and the attempt that were read; says whether it was."""
    seen = tasks.c.id == row.task_id, tasks.c.state == row.state, tasks.c.attempt == row.attempt
    return db.execute(update(tasks).where(*seen).values(updated_at=now, **values)).rowcount == 1


def _is_id(text: str) -> bool:
    """Whether an id can be ours: databases choke on some texts, such as PostgreSQL on NUL."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _storable(text: str) -> str:
    """Without what a database refuses: NUL (PostgreSQL), halves of surrogate pairs (UTF-8)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _stale(attempt: int) -> StaleAttempt:
    return StaleAttempt(f"attempt {attempt} does not own the task any more")

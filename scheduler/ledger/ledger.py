"""The ledger on SQL: the truth about tasks. Every transition is one conditional change in one transaction.

What always holds: a task has an entry in the outbox exactly while it is ACCEPTED. The entry and the state change
together, so a crash between writing and sending loses nothing: the entry is still there. The transition's entry in the
task's history is written with them.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, func, insert, select, update

from alts.shared.errors import LedgerUnavailable, StaleAttempt, TaskFinished, UnknownTask
from alts.shared.models.ledger import Assignment, TaskState
from alts.shared.models.report import REPORT, Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec
from scheduler.ledger import closing_report, presence
from scheduler.ledger import idempotency as submissions
from scheduler.ledger import outbox as invitations
from scheduler.ledger.database import Database
from scheduler.ledger.history import Entry, Event, attempts_of, entries_of, is_noted, note
from scheduler.ledger.idempotency import Submission
from scheduler.ledger.outbox import Invitation
from scheduler.ledger.presence import Presence, RollCall
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import Lease, Waiting, change, is_id, owned, row_of, storable
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import STAGES, TaskRow

WAITING = (TaskState.ACCEPTED, TaskState.QUEUED)
# SQLite takes 32766 parameters in a statement, PostgreSQL's protocol 65535.
IDS_AT_ONCE = 500


class _NamedAlreadyError(Exception):
    """Two requests with one key at once: the other one was quicker."""


class SqlLedger:
    """Implements alts.shared.models.ledger.Ledger, and what the scheduler needs beyond it.

    Every method may raise LedgerUnavailable. `outbox_filled` is set whenever an invitation was written.
    """

    def __init__(
        self,
        database: Database,
        rules: LedgerRules,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        outbox_filled: threading.Event | None = None,
    ) -> None:
        """`clock`: seconds since the epoch, for what is written; `monotonic`: for how long something has been so."""
        self._database = database
        self._rules = rules
        self._clock = clock
        self._outbox_filled = outbox_filled or threading.Event()
        self._roll = RollCall(monotonic)

    # what callers ask

    def submitted(self, submission: Submission) -> str | None:
        """The id of the task that the submission has brought before, None where it is new. Raises KeyReused."""
        with self._database.reading() as db:
            return submissions.task_of(db, submission, since=self._clock() - self._rules.idempotency_kept)

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str, key: str | None = None) -> str:
        """Write down a task and the wish to send its invitation; both are on disk when this returns the task's id.

        `key`: the caller's own; with it, who asks for the same again gets the same task. Raises KeyReused.
        """
        submission = None if key is None else Submission(submitted_by, key, spec)
        task_id = str(uuid.uuid4())
        try:
            with self._database.writing() as db:
                self._insert(db, task_id, spec, queue=queue, submitted_by=submitted_by)
                if submission is not None:
                    self._name(db, submission, task_id)
        except _NamedAlreadyError:
            if submission is not None and (earlier := self.submitted(submission)):
                return earlier
            raise LedgerUnavailable("the same request is being written down just now") from None
        self._outbox_filled.set()
        return task_id

    def _insert(self, db: Connection, task_id: str, spec: TaskSpec, *, queue: str, submitted_by: str) -> None:
        now = self._clock()
        db.execute(
            insert(tasks).values(
                id=task_id,
                spec=spec.model_dump_json(),
                queue=queue,
                submitted_by=storable(submitted_by),
                state=TaskState.ACCEPTED,
                due_at=now,
                resend_interval=self._rules.resend_after,
                created_at=now,
                updated_at=now,
            )
        )
        invitations.put(db, task_id, queue, due_at=now)
        note(db, task_id, Entry(at=now, event=Event.ACCEPTED, state=TaskState.ACCEPTED, attempt=0))

    def _name(self, db: Connection, submission: Submission, task_id: str) -> None:
        """Raises _NamedAlreadyError, which takes the transaction back, where the key has got another task meanwhile."""
        now = self._clock()
        since = now - self._rules.idempotency_kept
        if not submissions.remember(db, submission, task_id, now=now, since=since):
            raise _NamedAlreadyError

    def get(self, task_id: str) -> TaskRow:
        """Raises UnknownTask."""
        with self._database.reading() as db:
            row = row_of(db, task_id)
        if row is None:
            raise UnknownTask(f"no task has the id {task_id[:50]}")
        return row

    def history(self, task_id: str) -> tuple[Entry, ...]:
        """Every transition of the task, in their order. Raises UnknownTask."""
        with self._database.reading() as db:
            if row_of(db, task_id) is None:
                raise UnknownTask(f"no task has the id {task_id[:50]}")
            return entries_of(db, task_id)

    def unfinished_of(self, submitted_by: str) -> int:
        """How many tasks of that caller have not ended yet."""
        # Named one by one, so that the index leaves out the finished ones, which are most.
        unfinished = tasks.c.state.in_((*WAITING, TaskState.RUNNING))
        query = select(func.count()).where(tasks.c.submitted_by == storable(submitted_by), unfinished)
        with self._database.reading() as db:
            return db.execute(query).scalar_one()

    def request_cancel(self, task_id: str) -> TaskRow:
        """End a waiting task at once, ask the worker of a running one to stop; the task as it is then.

        Saying it again is harmless. Raises UnknownTask, or TaskFinished where it has ended otherwise.
        """
        now = self._clock()
        with self._database.writing() as db:
            row = row_of(db, task_id, lock=True)
            if row is None:
                raise UnknownTask(f"no task has the id {task_id[:50]}")
            if row.outcome is Outcome.CANCELLED:
                return row
            if row.state is TaskState.FINISHED:
                raise TaskFinished(f"the task has ended already: {row.outcome}")
            if row.state is TaskState.RUNNING:
                if not row.cancel_requested:
                    change(db, row, now=now, cancel_requested=True)
                    note(db, task_id, _entry(row, Event.CANCEL_REQUESTED, TaskState.RUNNING, now=now))
            else:
                report = closing_report.cancelled(row, now=now)
                self._finish(db, row, report, Event.CLOSED, now=now, cancel_requested=True)
        return self.get(task_id)

    # what workers say

    def claim(self, task_id: str, *, worker: str, key: str = "") -> Assignment | None:
        """See alts.shared.models.ledger.Ledger."""
        now = self._clock()
        digest = hashlib.sha256(key.encode()).hexdigest() if key else None
        with self._database.writing() as db:
            row = row_of(db, task_id, lock=True)
            if row is None:
                return None
            if row.state is TaskState.RUNNING and digest and row.claim_digest == digest:
                return self._assignment(db, row)
            if row.state not in WAITING or self._is_resting(row, now=now):
                return None
            if not _is_readable(row):
                self._finish(db, row, closing_report.not_readable(row, now=now), Event.CLOSED, now=now)
                return None
            if self._is_avoided(db, row, worker, now=now):
                self._invite_later(db, row, now=now, wait=self._rules.decline_wait(0))
                return None
            row = replace(
                row,
                state=TaskState.RUNNING,
                attempt=row.attempt + 1,
                worker=storable(worker),
                started_at=now if row.started_at is None else row.started_at,
            )
            self._begin(db, row, digest, now=now)
            return self._assignment(db, row)

    def decline(self, task_id: str, *, worker: str, reason: str) -> None:
        """See alts.shared.models.ledger.Ledger."""
        now = self._clock()
        with self._database.writing() as db:
            row = row_of(db, task_id, lock=True)
            if row is None or row.state not in WAITING or self._is_resting(row, now=now):
                return
            self._invite_later(db, row, now=now, wait=self._rules.decline_wait(row.declined), declined=row.declined + 1)
            if is_noted(row.declined + 1):
                entry = _entry(row, Event.DECLINED, TaskState.ACCEPTED, now=now, reason=reason)
                note(db, task_id, replace(entry, worker=worker))
        self._outbox_filled.set()

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        """See alts.shared.models.ledger.Ledger. Without progress, what was shown before stays."""
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
        """See alts.shared.models.ledger.Ledger."""
        if (report.task_id, report.attempt) != (task_id, attempt):
            raise StaleAttempt(f"the report is of attempt {report.attempt} of {report.task_id}")
        now = self._clock()
        digest = hashlib.sha256(REPORT.dump_json(report)).hexdigest()
        with self._database.writing() as db:
            row = owned(db, task_id, attempt)
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
                entry = _entry(row, Event.REPORTED, TaskState.ACCEPTED, now=now, reason=report.reason)
                self._accept_again(
                    db,
                    row,
                    replace(entry, outcome=report.outcome, artifacts=report.artifacts),
                    delay=self._rules.retry_wait(row.attempts_used),
                    report_digest=digest,
                    **self._elsewhere(row, now=now + self._rules.retry_wait(row.attempts_used)),
                )
                outcome = None
            else:
                self._finish(db, row, report, Event.REPORTED, now=now, report_digest=digest)
                outcome = report.outcome
        self._outbox_filled.set()
        return outcome

    def release(self, task_id: str, attempt: int, *, reason: str) -> None:
        """See alts.shared.models.ledger.Ledger. The attempt does not count against max_attempts."""
        now = self._clock()
        with self._database.writing() as db:
            row = owned(db, task_id, attempt)
            if row is None:
                raise _stale(attempt)
            if row.cancel_requested:
                self._finish(db, row, closing_report.cancelled(row, now=now), Event.RELEASED, now=now)
            else:
                entry = _entry(row, Event.RELEASED, TaskState.ACCEPTED, now=now, reason=reason)
                self._accept_again(db, row, entry, released=row.released + 1)
        self._outbox_filled.set()

    def announce(
        self, worker: str, *, ready: bool, reason: str = "", queues: Sequence[str] = (), free: int | None = None
    ) -> None:
        """See alts.shared.models.ledger.Ledger."""
        with self._database.writing() as db:
            presence.announce(db, Presence(worker, ready, reason, tuple(queues), self._clock(), free))

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """See alts.shared.models.ledger.Ledger."""
        ids = sorted({task_id for task_id, _ in attempts if is_id(task_id)})
        known: dict[str, tuple[int, bool]] = {}
        with self._database.reading() as db:
            for start in range(0, len(ids), IDS_AT_ONCE):
                chosen = tasks.c.id.in_(ids[start : start + IDS_AT_ONCE])
                for row in db.execute(select(tasks.c.id, tasks.c.attempt, tasks.c.state).where(chosen)):
                    known[row.id] = row.attempt, row.state == TaskState.RUNNING
        return {(task_id, attempt) for task_id, attempt in attempts if _is_over(attempt, known.get(task_id))}

    def workers(self) -> tuple[Presence, ...]:
        """Who has announced itself lately."""
        with self._database.reading() as db:
            return self._roll.present(db, now=self._clock())

    def longest_queued(self, *, limit: int) -> tuple[Waiting, ...]:
        """Return QUEUED tasks, those first whose invitations were sent first or have been sent again least often."""
        query = select(tasks.c.id, tasks.c.queue).where(tasks.c.state == TaskState.QUEUED)
        with self._database.reading() as db:
            return tuple(Waiting(*row) for row in db.execute(query.order_by(tasks.c.resend_at).limit(limit)))

    # what the relay does

    def due_invitations(self, *, limit: int) -> tuple[Invitation, ...]:
        """Those to be sent by now, the longest due first."""
        with self._database.reading() as db:
            return invitations.due(db, now=self._clock(), limit=limit)

    def take(self, wanted: Sequence[Invitation], *, relay: str, seconds: float) -> tuple[Invitation, ...]:
        """Those of them that are the relay's to send, and for so long nobody else's. `relay`: its id, a UUID."""
        if not wanted:
            return ()
        now = self._clock()
        with self._database.writing() as db:
            taken = invitations.take(db, wanted, relay=relay, now=now, until=now + seconds)
        return tuple(one for one in wanted if one.entry in taken)

    def give_back(self, taken: Iterable[Invitation], *, relay: str) -> None:
        """For any relay to take at once."""
        with self._database.writing() as db:
            invitations.give_back(db, taken, relay=relay)

    def mark_sent(self, sent: Iterable[Invitation]) -> None:
        """Strike them out; the tasks that nobody claimed meanwhile are QUEUED now."""
        with self._database.writing() as db:
            invitations.sent(db, sent, now=self._clock())

    def postpone(self, invitation: Invitation, *, seconds: float) -> None:
        """Try this one again later: it cannot be sent, and must not stand in the way of the others."""
        with self._database.writing() as db:
            invitations.postpone(db, invitation, until=self._clock() + seconds)

    # what the reconciler does

    def leases(self) -> tuple[Lease, ...]:
        """Return the leases of all running tasks."""
        query = select(tasks.c.id, tasks.c.attempt, tasks.c.lease_expires_at)
        with self._database.reading() as db:
            return tuple(Lease(*row) for row in db.execute(query.where(tasks.c.state == TaskState.RUNNING)))

    def expire(self, lapsed: Iterable[Lease]) -> tuple[str, ...]:
        """Take the tasks with these leases away from their workers; return the tasks' ids.

        A lease that was prolonged meanwhile is left alone. The others get their next attempt at once, or are
        FINISHED: ERRORED where no attempt is left, CANCELLED where the caller has asked for that.
        """
        now, known = self._clock(), {lease.task_id: lease for lease in lapsed}
        expired: list[str] = []
        with self._database.writing() as db:
            for start in range(0, len(known), IDS_AT_ONCE):
                chosen = list(known)[start : start + IDS_AT_ONCE]
                rows = _free_rows(db, tasks.c.state == TaskState.RUNNING, tasks.c.id.in_(chosen))
                for row in rows:
                    if known[row.task_id] == Lease(row.task_id, row.attempt, row.lease_expires_at):
                        self._lose(db, row, now=now)
                        expired.append(row.task_id)
        if expired:
            self._outbox_filled.set()
        return tuple(expired)

    def resend_lost(self) -> tuple[str, ...]:
        """Invite again for tasks whose invitation nobody followed in time; the tasks' ids.

        Each time the wait doubles: where the queue is only long, messages must not pile up.
        """
        return self._queue_again(tasks.c.resend_at <= self._clock(), interval_factor=2)

    def recall_far_ahead(self) -> tuple[str, ...]:
        """Let what implausibly far ahead times keep waiting be due now; return the tasks' ids.

        Such times were written while a clock was ahead: by this process before it was started anew, or by another
        scheduler. See LedgerRules.longest_wait; `resend_at` is as far ahead as the task's resend_interval.
        """
        now = self._clock()
        latest = now + self._rules.longest_wait
        with self._database.writing() as db:
            recalled = invitations.recall(db, now=now, latest=latest)
        if recalled:
            self._outbox_filled.set()
        # The second condition implies the first one, which can be looked up in the index.
        waits = self._rules.resend_after, tasks.c.resend_interval
        late = (tasks.c.resend_at > latest + wait for wait in waits)
        return (*recalled, *self._queue_again(*late, interval_factor=1))

    def requeue_all(self) -> tuple[str, ...]:
        """Invite again for every QUEUED task, because the broker has forgotten all; the tasks' ids."""
        return self._queue_again(tasks.c.state == TaskState.QUEUED, interval_factor=1)

    def check(self) -> None:
        """Raises LedgerUnavailable."""
        self._database.check()
        with self._database.reading() as db:
            db.execute(select(tasks.c.id).limit(1))

    def close(self) -> None:
        """Give the database's connections back."""
        self._database.close()

    # the ways out of RUNNING, and back to the outbox

    def _assignment(self, db: Connection, row: TaskRow) -> Assignment:
        earlier = attempts_of(entries_of(db, row.task_id)) if row.attempt > 1 else ()
        return Assignment(
            task_id=row.task_id,
            attempt=row.attempt,
            spec=row.spec,
            lease_seconds=self._rules.lease_seconds,
            earlier=earlier,
        )

    def _lose(self, db: Connection, row: TaskRow, *, now: float) -> None:
        """A running task whose worker stopped answering."""
        if row.cancel_requested:
            self._finish(db, row, closing_report.cancelled(row, now=now), Event.LOST, now=now)
        elif row.attempts_used < self._rules.max_attempts:
            reason = f"the worker {row.worker} stopped answering"
            entry = _entry(row, Event.LOST, TaskState.ACCEPTED, now=now, reason=reason)
            self._accept_again(db, row, entry, **self._elsewhere(row, now=now))
        else:
            self._finish(db, row, closing_report.worker_lost(row, now=now), Event.LOST, now=now)

    def _is_resting(self, row: TaskRow, *, now: float) -> bool:
        """Whether a waiting task must not be claimed yet. One that is QUEUED was due when its invitation was sent."""
        return row.state is TaskState.ACCEPTED and self._rules.is_ahead(row.due_at, now=now)

    def _is_avoided(self, db: Connection, row: TaskRow, worker: str, *, now: float) -> bool:
        """Whether the last attempt has failed on this worker, and another one may have more luck."""
        until = row.avoided_until
        if row.avoided_worker != storable(worker) or until is None or not self._rules.is_ahead(until, now=now):
            return False
        present = self._roll.present(db, now=now)
        return presence.somebody_else(present, worker=storable(worker), queue=row.queue)

    def _begin(self, db: Connection, row: TaskRow, digest: str | None, *, now: float) -> None:
        """The attempt that `row` has already."""
        db.execute(
            update(tasks)
            .where(tasks.c.id == row.task_id, tasks.c.state.in_(WAITING), tasks.c.attempt == row.attempt - 1)
            .values(
                state=TaskState.RUNNING,
                attempt=row.attempt,
                worker=row.worker,
                claim_digest=digest,
                lease_expires_at=now + self._rules.lease_seconds,
                started_at=row.started_at,
                progress="[]",
                resend_at=None,
                declined=0,
                avoided_worker=None,
                avoided_until=None,
                updated_at=now,
            )
        )
        # The invitation may not be marked as sent yet, or lie there a second time: it has done its work.
        invitations.withdraw(db, row.task_id)
        note(db, row.task_id, _entry(row, Event.CLAIMED, TaskState.RUNNING, now=now))

    def _finish(self, db: Connection, row: TaskRow, report: Report, event: Event, *, now: float, **more: Any) -> None:
        entry = _entry(row, event, TaskState.FINISHED, now=now, reason=report.reason)
        entry = replace(entry, outcome=report.outcome, artifacts=report.artifacts)
        if event is not Event.REPORTED:
            report = replace(report, attempts=attempts_of([*entries_of(db, row.task_id), entry]))
        elif row.attempt > 1:
            # An attempt's own report tells of those before it.
            report = replace(report, attempts=attempts_of(entries_of(db, row.task_id)))
        change(
            db,
            row,
            now=now,
            state=TaskState.FINISHED,
            outcome=report.outcome,
            reason=storable(report.reason),
            report=report.to_json(),
            progress=STAGES.dump_json(report.stages).decode(),
            finished_at=now,
            lease_expires_at=None,
            resend_at=None,
            **more,
        )
        invitations.withdraw(db, row.task_id)
        note(db, row.task_id, entry)

    def _accept_again(self, db: Connection, row: TaskRow, entry: Entry, *, delay: float = 0.0, **more: Any) -> None:
        change(
            db,
            row,
            now=entry.at,
            state=TaskState.ACCEPTED,
            reason=storable(entry.reason),
            due_at=entry.at + delay,
            lease_expires_at=None,
            resend_interval=self._rules.resend_after,
            **more,
        )
        invitations.put(db, row.task_id, row.queue, due_at=entry.at + delay)
        note(db, row.task_id, entry)

    def _invite_later(self, db: Connection, row: TaskRow, *, now: float, wait: float, **more: Any) -> None:
        """A waiting task whose invitation is spent."""
        due = now + wait
        change(db, row, now=now, state=TaskState.ACCEPTED, due_at=due, resend_at=None, **more)
        invitations.withdraw(db, row.task_id)
        invitations.put(db, row.task_id, row.queue, due_at=due)

    def _elsewhere(self, row: TaskRow, *, now: float) -> dict[str, Any]:
        return {"avoided_worker": row.worker, "avoided_until": now + self._rules.retry_elsewhere_seconds}

    def _queue_again(self, *which: Any, interval_factor: int) -> tuple[str, ...]:
        now = self._clock()
        with self._database.writing() as db:
            rows = _free_rows(db, tasks.c.state == TaskState.QUEUED, *which)
            for row in rows:
                interval = row.resend_interval * interval_factor
                change(db, row, now=now, state=TaskState.ACCEPTED, resend_at=None, resend_interval=interval)
                invitations.put(db, row.task_id, row.queue, due_at=now)
                note(db, row.task_id, _entry(row, Event.RESENT, TaskState.ACCEPTED, now=now))
        if rows:
            self._outbox_filled.set()
        return tuple(row.task_id for row in rows)


def _free_rows(db: Connection, *which: Any) -> list[TaskRow]:
    """Those tasks, locked; what another transaction is at just now is left to it."""
    query = select(tasks).where(*which).order_by(tasks.c.id).with_for_update(skip_locked=True)
    return [TaskRow.of(row) for row in db.execute(query)]


def _entry(row: TaskRow, event: Event, state: TaskState, *, now: float, reason: str = "") -> Entry:
    return Entry(at=now, event=event, state=state, attempt=row.attempt, worker=row.worker, reason=reason)


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
    return StaleAttempt(f"attempt {attempt} does not own the task any more")

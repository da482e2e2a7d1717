"""Tasks as their callers see them: added, looked up, cancelled."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from alts.shared.errors import KeyReused, LedgerUnavailable, TaskFinished, UnknownTask
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from alts.shared.models.task_spec import TaskSpec
from scheduler.ledger import closing_report, idempotency, outbox
from scheduler.ledger.database import Database
from scheduler.ledger.event import Event
from scheduler.ledger.group_commit import GroupCommit, GroupFailed
from scheduler.ledger.history import Entry, entries_of, note, note_all
from scheduler.ledger.idempotency import Submission
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import change, row_of, storable
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import TaskRow
from scheduler.ledger.transitions import WAITING, entry_of, finish


class _KeyTakenError(Exception):
    """A concurrent request with the same key was faster."""


@dataclass(frozen=True)
class _New:
    """A task to be stored."""

    id: str
    spec: TaskSpec
    queue: str
    submitted_by: str
    submission: Submission | None


class Tasks:
    """The callers' side of the ledger. Every method may raise LedgerUnavailable."""

    def __init__(
        self, database: Database, rules: LedgerRules, *, clock: Callable[[], float], outbox_filled: threading.Event
    ) -> None:
        """`outbox_filled` is set after every transaction that wrote an invitation."""
        self._database = database
        self._rules = rules
        self._clock = clock
        self._outbox_filled = outbox_filled
        self._additions = GroupCommit(database, self._add_all, self._add_alone)

    def submitted(self, submission: Submission) -> str | None:
        """Return the id of the task that the same submission created before, or None. Raises KeyReused."""
        with self._database.reading() as db:
            return idempotency.task_of(db, submission, since=self._clock() - self._rules.idempotency_kept)

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str, key: str | None = None) -> str:
        """Store a task and its invitation; return the task's id when both are on disk.

        `key`: the caller's Idempotency-Key. The same request with the same key returns the same task.
        Raises KeyReused if the key came with another request.
        """
        submission = None if key is None else Submission(submitted_by, key, spec)
        task_id = self._additions.add(_New(str(uuid.uuid4()), spec, queue, submitted_by, submission))
        self._outbox_filled.set()
        return task_id

    def get(self, task_id: str) -> TaskRow:
        """Return a task. Raises UnknownTask."""
        with self._database.reading() as db:
            return _known(db, task_id)

    def history(self, task_id: str) -> tuple[Entry, ...]:
        """Return every transition of a task, oldest first. Raises UnknownTask."""
        with self._database.reading() as db:
            _known(db, task_id)
            return entries_of(db, task_id)

    def unfinished_of(self, submitted_by: str) -> int:
        """Count the caller's tasks that have not ended yet."""
        # The states are listed one by one, so that the index skips the finished tasks, which are most.
        unfinished = tasks.c.state.in_((*WAITING, TaskState.RUNNING))
        query = select(func.count()).where(tasks.c.submitted_by == storable(submitted_by), unfinished)
        with self._database.reading() as db:
            return db.execute(query).scalar_one()

    def request_cancel(self, task_id: str) -> TaskRow:
        """End a waiting task at once, or ask a running task's worker to stop. Return the task as it is then.

        Repeating the request is harmless. Raises UnknownTask, or TaskFinished if the task has ended otherwise.
        """
        now = self._clock()
        with self._database.writing() as db:
            row = _known(db, task_id, lock=True)
            if row.outcome is Outcome.CANCELLED:
                return row
            if row.state is TaskState.FINISHED:
                raise TaskFinished(f"the task has ended already: {row.outcome}")
            if row.state is not TaskState.RUNNING:
                finish(db, row, closing_report.cancelled(row, now=now), Event.CLOSED, now=now, cancel_requested=True)
            elif not row.cancel_requested:
                change(db, row, now=now, cancel_requested=True)
                note(db, task_id, entry_of(row, Event.CANCEL_REQUESTED, TaskState.RUNNING, now=now))
        return self.get(task_id)

    def _add_all(self, db: Connection, wanted: Sequence[_New]) -> Mapping[int, str]:
        """Store the tasks of a group, and return their ids by their positions.

        Leaves out those whose key came with another request. Raises GroupFailed.
        """
        since = self._clock() - self._rules.idempotency_kept
        found: dict[int, str] = {}
        fresh: dict[int, _New] = {}
        keys: set[tuple[str, str]] = set()
        for position, new in enumerate(wanted):
            if new.submission is None:
                fresh[position] = new
            elif (key := (new.submission.caller, new.submission.key)) not in keys:
                keys.add(key)
                try:
                    earlier = idempotency.task_of(db, new.submission, since=since)
                except KeyReused:
                    # Alone, it gets this error again.
                    continue
                if earlier is None:
                    fresh[position] = new
                else:
                    found[position] = earlier
        try:
            self._insert(db, list(fresh.values()))
        except _KeyTakenError as taken:
            raise GroupFailed from taken
        return found | {position: new.id for position, new in fresh.items()}

    def _add_alone(self, new: _New) -> str:
        """Store a task, and return its id. Raises KeyReused."""
        try:
            with self._database.writing() as db:
                self._insert(db, [new])
        except _KeyTakenError:
            if new.submission is not None and (earlier := self.submitted(new.submission)):
                return earlier
            raise LedgerUnavailable("the same request is being stored at this moment") from None
        return new.id

    def _insert(self, db: Connection, fresh: Sequence[_New]) -> None:
        """Write tasks with their invitations and their keys. Raises _KeyTakenError."""
        if not fresh:
            return
        now = self._clock()
        rows = [
            {
                "id": new.id,
                "spec": new.spec.model_dump_json(),
                "queue": new.queue,
                "submitted_by": storable(new.submitted_by),
                "state": TaskState.ACCEPTED,
                "due_at": now,
                "resend_interval": self._rules.resend_after,
                "created_at": now,
                "updated_at": now,
            }
            for new in fresh
        ]
        db.execute(insert(tasks), rows)
        outbox.put_all(db, [(new.id, new.queue) for new in fresh], due_at=now)
        accepted = Entry(at=now, event=Event.ACCEPTED, state=TaskState.ACCEPTED, attempt=0)
        note_all(db, [(new.id, accepted) for new in fresh])
        for new in fresh:
            if new.submission is not None:
                self._take_key(db, new.submission, new.id)

    def _take_key(self, db: Connection, submission: Submission, task_id: str) -> None:
        """Raises _KeyTakenError, which rolls the transaction back, if the key has got another task meanwhile."""
        now = self._clock()
        since = now - self._rules.idempotency_kept
        if not idempotency.remember(db, submission, task_id, now=now, since=since):
            raise _KeyTakenError


def _known(db: Connection, task_id: str, *, lock: bool = False) -> TaskRow:
    row = row_of(db, task_id, lock=lock)
    if row is None:
        raise UnknownTask(f"no task has the id {task_id[:50]}")
    return row

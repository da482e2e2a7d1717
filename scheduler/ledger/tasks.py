"""Tasks as their callers see them: added, looked up, cancelled."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from alts.shared.errors import KeyReused, LedgerUnavailable, TaskFinished, UnknownTask
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from alts.shared.models.task_spec import TaskSpec
from scheduler.ledger import closing_report, idempotency, outbox
from scheduler.ledger.database import Database
from scheduler.ledger.database_errors import plain
from scheduler.ledger.event import Event
from scheduler.ledger.history import Entry, entries_of, note, note_all
from scheduler.ledger.idempotency import Submission
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.rows import change, row_of, storable
from scheduler.ledger.tables import tasks
from scheduler.ledger.task_row import TaskRow
from scheduler.ledger.transitions import WAITING, entry_of, finish

log = logging.getLogger(__name__)


class _KeyTakenError(Exception):
    """A concurrent request with the same key was faster."""


@dataclass(frozen=True)
class NewTask:
    """A request to be stored as a task."""

    spec: TaskSpec
    queue: str
    submitted_by: str
    key: str | None = None
    """The caller's Idempotency-Key. The same request with the same key is the same task."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def submission(self) -> Submission | None:
        """The request with its key, if it has one."""
        return None if self.key is None else Submission(self.submitted_by, self.key, self.spec)


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

    def submitted(self, submissions: Sequence[Submission]) -> list[str | KeyReused | None]:
        """Return for each submission the id of the task that it created before, or None; KeyReused as a value."""
        with self._database.reading() as db:
            return [self._earlier(db, submission, {}) for submission in submissions]

    def add(self, spec: TaskSpec, *, queue: str, submitted_by: str, key: str | None = None) -> str:
        """Store a task as add_all() does, and return its id. Raises KeyReused."""
        [outcome] = self.add_all([NewTask(spec, queue, submitted_by, key)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def add_all(self, wanted: Sequence[NewTask]) -> list[str | Exception]:
        """Store tasks and their invitations in one transaction. Return their ids when all of it is on disk.

        In place of an id there may be KeyReused: its key came with another request. If the transaction fails because
        of one of them, each is stored in a transaction of its own, and has the error of its own.
        """
        if not wanted:
            return []
        try:
            outcomes = self._add_together(wanted)
        except (_KeyTakenError, SQLAlchemyError) as error:
            log.info("requests are stored one by one", extra={"reason": plain(error), "requests": len(wanted)})
            outcomes = [self._add_alone(new) for new in wanted]
        self._outbox_filled.set()
        return outcomes

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

    def _add_together(self, wanted: Sequence[NewTask]) -> list[str | Exception]:
        """Raises _KeyTakenError, or SQLAlchemyError if one of them cannot be stored."""
        outcomes: dict[int, str | Exception] = {}
        fresh: dict[int, NewTask] = {}
        firsts: dict[tuple[str, str], NewTask] = {}
        with self._database.writing() as db:
            for position, new in enumerate(wanted):
                earlier = None if new.submission is None else self._earlier(db, new.submission, firsts)
                if earlier is not None:
                    outcomes[position] = earlier
                    continue
                fresh[position] = new
                if new.key is not None:
                    firsts[new.submitted_by, new.key] = new
            self._insert(db, list(fresh.values()))
        return [outcomes[position] if position in outcomes else fresh[position].id for position in range(len(wanted))]

    def _add_alone(self, new: NewTask) -> str | Exception:
        try:
            with self._database.writing() as db:
                self._insert(db, [new])
        except _KeyTakenError:
            return self._stored_by_another(new)
        except (LedgerUnavailable, SQLAlchemyError) as error:
            # As a value: others of the group may be stored already, and must learn it.
            return error
        return new.id

    def _stored_by_another(self, new: NewTask) -> str | Exception:
        """Return the outcome of a request whose key a concurrent request has taken."""
        try:
            earlier = None if new.submission is None else self.submitted([new.submission])[0]
        except LedgerUnavailable as error:
            return error
        return earlier or LedgerUnavailable("the same request is being stored at this moment")

    def _earlier(
        self, db: Connection, submission: Submission, firsts: Mapping[tuple[str, str], NewTask]
    ) -> str | KeyReused | None:
        """`firsts`: tasks with keys that the transaction will write."""
        try:
            first = firsts.get((submission.caller, submission.key))
            if first is None or first.submission is None:
                return idempotency.task_of(db, submission, since=self._clock() - self._rules.idempotency_kept)
            idempotency.check_same(submission, first.submission.request_digest)
        except KeyReused as error:
            return error
        return first.id

    def _insert(self, db: Connection, fresh: Sequence[NewTask]) -> None:
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

"""In any order of events a task is never lost, never runs twice at once, and ends once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from alts.shared.errors import StaleAttempt, TaskFinished
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.outbox import Invitation
from scheduler.ledger.task_row import TaskRow
from tests.support.builders import a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, lapse

MAX_ATTEMPTS = 2


class LedgerMachine(RuleBasedStateMachine):
    """Callers, slow and dead workers, the relay and the reconciler, all at random."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        self.ledger: SqlLedger = a_ledger(Path(self.folder.name), self.clock, max_attempts=MAX_ATTEMPTS)
        # This also sees entries that are due later.
        self.later: SqlLedger = a_ledger(Path(self.folder.name), HandClock(1e12))
        self.seen: dict[str, TaskRow] = {}
        self.unmarked: list[Invitation] = []
        self.released: dict[str, int] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.later.close()
        self.folder.cleanup()

    @rule(target=tasks)
    def add(self) -> str:
        task_id = self.ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
        self.released[task_id] = 0
        return task_id

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 31.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_by(seconds)

    @rule()
    def relay_sends(self) -> None:
        self.unmarked += self.ledger.outbox.due(limit=10)

    @rule()
    def relay_marks(self) -> None:
        self.ledger.outbox.mark_sent(self.unmarked)
        self.unmarked = []

    @rule()
    def reconciler_looks(self) -> None:
        lapse(self.ledger, self.clock)
        self.ledger.queue.resend_lost()

    @rule()
    def broker_forgets(self) -> None:
        self.ledger.queue.requeue_all()

    @rule(task_id=tasks)
    def claim(self, task_id: str) -> None:
        before = self.ledger.tasks.get(task_id)

        assignment = self.ledger.attempts.claim(task_id, worker="worker-1")

        free = before.state in (TaskState.ACCEPTED, TaskState.QUEUED) and before.due_at <= self.clock.now
        assert (assignment is not None) == free
        assert assignment is None or assignment.attempt == before.attempt + 1

    @rule(task_id=tasks, attempt=st.integers(1, 4))
    def heartbeat(self, task_id: str, attempt: int) -> None:
        owns = self.owns(task_id, attempt)
        try:
            self.ledger.attempts.heartbeat(task_id, attempt)
        except StaleAttempt:
            assert not owns
        else:
            assert owns

    @rule(
        task_id=tasks,
        attempt=st.integers(1, 4),
        outcome=st.sampled_from([Outcome.PASSED, Outcome.FAILED, Outcome.ERRORED, Outcome.CANCELLED]),
        retryable=st.booleans(),
    )
    def report(self, task_id: str, attempt: int, outcome: Outcome, *, retryable: bool) -> None:
        owns = self.owns(task_id, attempt)
        before = self.ledger.tasks.get(task_id)
        try:
            self.ledger.attempts.report(
                task_id, attempt, a_report(task_id=task_id, attempt=attempt, outcome=outcome, retryable=retryable)
            )
        except StaleAttempt:
            assert not owns
        if not owns:
            assert self.ledger.tasks.get(task_id) == before

    @rule(task_id=tasks, attempt=st.integers(1, 4))
    def release(self, task_id: str, attempt: int) -> None:
        owns = self.owns(task_id, attempt)
        try:
            self.ledger.attempts.release(task_id, attempt, reason="draining")
        except StaleAttempt:
            assert not owns
        else:
            assert owns
            self.released[task_id] += 1

    @rule(task_id=tasks)
    def cancel(self, task_id: str) -> None:
        before = self.ledger.tasks.get(task_id)
        over = before.state is TaskState.FINISHED and before.outcome is not Outcome.CANCELLED
        try:
            row = self.ledger.tasks.request_cancel(task_id)
        except TaskFinished:
            assert over
        else:
            assert not over
            assert row.cancel_requested or row == before

    @invariant()
    def an_invitation_is_due_exactly_while_a_task_is_accepted(self) -> None:
        invited = [invitation.task_id for invitation in self.later.outbox.due(limit=1000)]
        accepted = [task_id for task_id in self.released if self.ledger.tasks.get(task_id).state is TaskState.ACCEPTED]
        assert sorted(invited) == sorted(accepted)

    @invariant()
    def every_row_makes_sense(self) -> None:
        for task_id in self.released:
            row = self.ledger.tasks.get(task_id)
            finished = row.state is TaskState.FINISHED
            assert (
                (row.outcome is not None) == (row.report_json is not None) == (row.finished_at is not None) == finished
            )
            assert (row.lease_expires_at is not None) == (row.state is TaskState.RUNNING)
            assert (row.resend_at is not None) == (row.state is TaskState.QUEUED)
            assert row.attempt - self.released[task_id] <= MAX_ATTEMPTS
            assert row.report is None or row.report.outcome is row.outcome

    @invariant()
    def attempts_only_grow_and_what_is_finished_stays(self) -> None:
        for task_id in self.released:
            row, before = self.ledger.tasks.get(task_id), self.seen.get(task_id)
            if before is not None:
                assert row.attempt >= before.attempt
                assert before.state is not TaskState.FINISHED or row == before
            self.seen[task_id] = row

    def owns(self, task_id: str, attempt: int) -> bool:
        row = self.ledger.tasks.get(task_id)
        return row.state is TaskState.RUNNING and row.attempt == attempt


TestLedgerMachine = pytest.mark.slow(LedgerMachine.TestCase)
TestLedgerMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)

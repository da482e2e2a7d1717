"""The contract of Ledger for workers, run against the fake, against SQL, and over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from fastapi import FastAPI

from alts.client.worker_api import HttpLedger
from alts.shared.auth.tokens import Scope
from alts.shared.errors import StaleAttempt, TaskFinished
from alts.shared.models.ledger import Ledger, TaskState
from alts.shared.models.report import Ending, Finding, Kind, Outcome, StageResult
from alts.shared.models.task_spec import TaskSpec
from scheduler.api.application import create_app
from scheduler.ledger.ledger import SqlLedger
from tests.support.builders import TASK_ID, a_report, a_spec
from tests.support.fakes import FakeLedger
from tests.support.postgresql import PrivatePostgreSQL
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, a_token, lapse, serving, some_services

STAGES = (StageResult(stage="install", outcome=Outcome.PASSED, seconds=1.5, exit_code=0),)


class Inside(Protocol):
    """The ledger from the scheduler's side."""

    def get(self, task_id: str) -> Any: ...

    def request_cancel(self, task_id: str) -> object: ...


@dataclass
class Desk:
    """A ledger from the worker's and the scheduler's side. Three attempts, leases of 30 s, retries after 10 s."""

    ledger: Ledger
    inside: Inside
    clock: HandClock
    sql: SqlLedger | None = None
    """The whole ledger behind both sides. None for the fake."""

    def add(self, spec: TaskSpec | None = None) -> str:
        spec = spec or a_spec()
        if isinstance(self.inside, FakeLedger):
            return self.inside.add(spec)
        assert self.sql is not None
        return self.sql.tasks.add(spec, queue=QUEUE, submitted_by="me@example.org")

    def lapse(self) -> tuple[str, ...]:
        """Expire the leases that were not renewed in time. Return the ids of their tasks."""
        if isinstance(self.inside, FakeLedger):
            return self.inside.expire_leases()
        assert self.sql is not None
        return lapse(self.sql, self.clock)

    def claimed(self) -> str:
        task_id = self.add()
        assert self.ledger.claim(task_id, worker="worker-1") is not None
        return task_id


@dataclass
class Server:
    """A running scheduler. Each test replaces its ledger."""

    url: str
    app: FastAPI

    def serve(self, ledger: SqlLedger) -> None:
        parts = self.app.state.parts
        self.app.state.parts = replace(parts, services=replace(parts.services, ledger=ledger))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    app = create_app(some_services(folder, a_ledger(folder, HandClock())))
    with serving(app) as url:
        yield Server(url, app)


@pytest.fixture(params=["fake", "sql", "http", pytest.param("postgresql", marks=pytest.mark.services)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    clock = HandClock()
    if request.param == "fake":
        fake = FakeLedger(clock=clock, retry_delay=10.0)
        yield Desk(fake, fake, clock)
        return
    if request.param == "postgresql":
        postgresql: PrivatePostgreSQL = request.getfixturevalue("postgresql")
        with postgresql.database() as url, closing(a_ledger(url, clock)) as sql:
            yield Desk(sql.attempts, sql.tasks, clock, sql)
        return
    with closing(a_ledger(tmp_path, clock)) as sql:
        if request.param == "sql":
            yield Desk(sql.attempts, sql.tasks, clock, sql)
            return
        server: Server = request.getfixturevalue("server")
        server.serve(sql)
        with closing(HttpLedger(server.url, token=lambda _now: a_token(Scope.WORKER))) as client:
            yield Desk(client, sql.tasks, clock, sql)


def test_a_claim_gives_the_first_attempt_with_the_request_as_it_was_made(desk: Desk) -> None:
    spec = a_spec(package_version="2.10-3", repositories=[{"url": "http://example.org/debian bookworm main"}])
    task_id = desk.add(spec)

    assignment = desk.ledger.claim(task_id, worker="worker-1")

    assert assignment is not None
    assert (assignment.task_id, assignment.attempt) == (task_id, 1)
    assert assignment.spec == spec
    assert assignment.lease_seconds == 30.0
    assert desk.inside.get(task_id).state is TaskState.RUNNING
    assert desk.inside.get(task_id).worker == "worker-1"


def test_a_claimed_task_is_not_to_be_had_again(desk: Desk) -> None:
    task_id = desk.claimed()

    assert desk.ledger.claim(task_id, worker="worker-2") is None
    assert desk.inside.get(task_id).worker == "worker-1"


def test_a_claim_whose_answer_got_lost_is_answered_again(desk: Desk) -> None:
    task_id = desk.add(a_spec())

    first = desk.ledger.claim(task_id, worker="worker-1", key="k1")

    assert first is not None
    assert desk.ledger.claim(task_id, worker="worker-1", key="k1") == first
    assert desk.ledger.claim(task_id, worker="worker-1", key="k2") is None
    assert desk.ledger.claim(task_id, worker="worker-1") is None


def test_a_report_is_answered_with_the_task_s_outcome_or_none_while_there_are_attempts(desk: Desk) -> None:
    passed, errored = desk.claimed(), desk.claimed()
    good = a_report(task_id=passed)
    bad = a_report(task_id=errored, outcome=Outcome.ERRORED, retryable=True)

    assert [desk.ledger.report(passed, 1, good) for _ in range(2)] == [Outcome.PASSED, Outcome.PASSED]
    assert [desk.ledger.report(errored, 1, bad) for _ in range(2)] == [None, None]


@pytest.mark.parametrize("task_id", [TASK_ID, "nonsense", "0" * 200, "a b%2e?#"])
def test_a_task_that_nobody_knows_is_not_to_be_had(desk: Desk, task_id: str) -> None:
    assert desk.ledger.claim(task_id, worker="worker-1") is None


def test_a_finished_task_is_not_to_be_had(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.report(task_id, 1, a_report(task_id=task_id))

    assert desk.ledger.claim(task_id, worker="worker-2") is None


def test_heartbeats_keep_the_lease(desk: Desk) -> None:
    task_id = desk.claimed()

    for _ in range(5):
        desk.clock.pass_by(25)
        assert desk.ledger.heartbeat(task_id, 1) is False
        assert desk.lapse() == ()

    assert desk.inside.get(task_id).state is TaskState.RUNNING


def test_a_heartbeat_shows_the_stages_so_far_and_one_without_any_keeps_them(desk: Desk) -> None:
    task_id = desk.claimed()

    desk.ledger.heartbeat(task_id, 1, progress=STAGES)
    desk.ledger.heartbeat(task_id, 1)

    assert desk.inside.get(task_id).progress == STAGES


def test_without_heartbeats_the_next_attempt_is_anybodys_and_the_old_one_is_refused(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.heartbeat(task_id, 1, progress=STAGES)
    desk.clock.pass_by(31)

    assert desk.lapse() == (task_id,)
    assignment = desk.ledger.claim(task_id, worker="worker-2")

    assert assignment is not None
    assert assignment.attempt == 2
    assert desk.inside.get(task_id).progress == ()
    with pytest.raises(StaleAttempt):
        desk.ledger.heartbeat(task_id, 1)
    with pytest.raises(StaleAttempt):
        desk.ledger.report(task_id, 1, a_report(task_id=task_id))
    with pytest.raises(StaleAttempt):
        desk.ledger.release(task_id, 1, reason="draining")
    assert desk.ledger.heartbeat(task_id, 2) is False


def test_a_lapsed_lease_that_nobody_has_taken_away_yet_is_prolonged(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.clock.pass_by(31)

    assert desk.ledger.heartbeat(task_id, 1) is False
    assert desk.lapse() == ()


def test_when_every_attempt_is_lost_the_task_errors(desk: Desk) -> None:
    task_id = desk.add()
    for attempt in (1, 2, 3):
        assignment = desk.ledger.claim(task_id, worker="worker-1")
        assert assignment is not None
        assert assignment.attempt == attempt
        desk.clock.pass_by(31)
        desk.lapse()

    task = desk.inside.get(task_id)
    assert task.state is TaskState.FINISHED
    assert task.outcome is Outcome.ERRORED
    assert task.report.outcome is Outcome.ERRORED
    assert task.report.attempt == 3


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.FAILED, Outcome.CANCELLED])
def test_a_verdict_ends_the_task(desk: Desk, outcome: Outcome) -> None:
    task_id = desk.claimed()
    finding = Finding(kind=Kind.DEPENDENCY_UNMET, message="libfoo1 is missing — über", evidence="E: libfoo1")
    stages = (StageResult(stage="install", outcome=outcome, seconds=0.1, findings=(finding,), log="file:///log"),)
    report = a_report(task_id=task_id, outcome=outcome, reason="why", stages=stages, tools={"apt": "2.6.1"})

    desk.ledger.report(task_id, 1, report)

    task = desk.inside.get(task_id)
    assert task.state is TaskState.FINISHED
    assert task.outcome is outcome
    assert task.report == report


def test_saying_the_same_report_again_is_harmless(desk: Desk) -> None:
    task_id = desk.claimed()
    report = a_report(task_id=task_id)
    desk.ledger.report(task_id, 1, report)

    desk.ledger.report(task_id, 1, report)

    assert desk.inside.get(task_id).report == report


def test_saying_the_same_retryable_report_again_does_not_cost_an_attempt(desk: Desk) -> None:
    task_id = desk.claimed()
    report = a_report(task_id=task_id, outcome=Outcome.ERRORED, reason="mirror away", retryable=True)
    desk.ledger.report(task_id, 1, report)

    desk.ledger.report(task_id, 1, report)

    desk.clock.pass_by(10)
    assignment = desk.ledger.claim(task_id, worker="worker-2")
    assert assignment is not None
    assert assignment.attempt == 2


def test_another_report_of_the_same_attempt_is_refused(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.report(task_id, 1, a_report(task_id=task_id))

    with pytest.raises(StaleAttempt):
        desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.FAILED))

    assert desk.inside.get(task_id).outcome is Outcome.PASSED


def test_a_report_of_another_attempt_or_task_is_refused(desk: Desk) -> None:
    task_id = desk.claimed()

    with pytest.raises(StaleAttempt):
        desk.ledger.report(task_id, 1, a_report(task_id=task_id, attempt=2))
    with pytest.raises(StaleAttempt):
        desk.ledger.report(task_id, 1, a_report(task_id=TASK_ID))

    assert desk.inside.get(task_id).state is TaskState.RUNNING


def test_a_retryable_error_waits_and_then_gets_the_next_attempt(desk: Desk) -> None:
    task_id = desk.claimed()

    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))

    assert desk.inside.get(task_id).outcome is None
    desk.clock.pass_by(9)
    assert desk.ledger.claim(task_id, worker="worker-2") is None
    desk.clock.pass_by(1)
    assignment = desk.ledger.claim(task_id, worker="worker-2")
    assert assignment is not None
    assert assignment.attempt == 2


def test_an_error_that_cannot_be_retried_ends_the_task(desk: Desk) -> None:
    task_id = desk.claimed()

    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=False))

    assert desk.inside.get(task_id).outcome is Outcome.ERRORED


def test_the_last_attempts_error_ends_the_task(desk: Desk) -> None:
    task_id = desk.add()
    for attempt in (1, 2, 3):
        desk.clock.pass_by(20)
        assert desk.ledger.claim(task_id, worker="worker-1") is not None
        report = a_report(task_id=task_id, attempt=attempt, outcome=Outcome.ERRORED, retryable=True)
        desk.ledger.report(task_id, attempt, report)

    task = desk.inside.get(task_id)
    assert task.state is TaskState.FINISHED
    assert task.outcome is Outcome.ERRORED


def test_a_released_task_is_to_be_had_at_once_and_lost_no_attempt(desk: Desk) -> None:
    task_id = desk.add()
    for attempt in (1, 2, 3, 4):
        assignment = desk.ledger.claim(task_id, worker="worker-1")
        assert assignment is not None
        assert assignment.attempt == attempt
        desk.ledger.release(task_id, attempt, reason="draining")

    desk.ledger.claim(task_id, worker="worker-1")
    desk.ledger.report(task_id, 5, a_report(task_id=task_id, attempt=5, outcome=Outcome.ERRORED, retryable=True))

    assert desk.inside.get(task_id).state is not TaskState.FINISHED


@pytest.mark.parametrize("task_id", [TASK_ID, "nonsense"])
def test_nothing_can_be_said_about_a_task_that_nobody_knows(desk: Desk, task_id: str) -> None:
    with pytest.raises(StaleAttempt):
        desk.ledger.heartbeat(task_id, 1)
    with pytest.raises(StaleAttempt):
        desk.ledger.report(task_id, 1, a_report(task_id=task_id))
    with pytest.raises(StaleAttempt):
        desk.ledger.release(task_id, 1, reason="draining")


def test_a_waiting_task_is_cancelled_at_once(desk: Desk) -> None:
    task_id = desk.add()

    desk.inside.request_cancel(task_id)

    task = desk.inside.get(task_id)
    assert (task.state, task.outcome) == (TaskState.FINISHED, Outcome.CANCELLED)
    assert task.report.outcome is Outcome.CANCELLED
    assert desk.ledger.claim(task_id, worker="worker-1") is None


def test_a_running_tasks_worker_hears_of_a_cancel_at_its_next_heartbeat(desk: Desk) -> None:
    task_id = desk.claimed()

    desk.inside.request_cancel(task_id)

    assert desk.ledger.heartbeat(task_id, 1) is True
    assert desk.inside.get(task_id).state is TaskState.RUNNING


def test_a_cancelled_task_whose_worker_is_lost_stays_cancelled(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.inside.request_cancel(task_id)
    desk.clock.pass_by(31)

    desk.lapse()

    assert desk.inside.get(task_id).outcome is Outcome.CANCELLED


def test_a_cancelled_task_that_errors_or_comes_back_is_not_tried_again(desk: Desk) -> None:
    errored, released = desk.claimed(), desk.claimed()
    for task_id in (errored, released):
        desk.inside.request_cancel(task_id)

    desk.ledger.report(errored, 1, a_report(task_id=errored, outcome=Outcome.ERRORED, retryable=True))
    desk.ledger.release(released, 1, reason="draining")

    assert desk.inside.get(errored).outcome is Outcome.CANCELLED
    assert desk.inside.get(errored).report.outcome is Outcome.CANCELLED
    assert desk.inside.get(released).outcome is Outcome.CANCELLED


def test_a_verdict_that_was_reached_before_the_cancel_was_heard_stands(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.inside.request_cancel(task_id)

    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.PASSED))

    assert desk.inside.get(task_id).outcome is Outcome.PASSED


def test_a_finished_task_cannot_be_cancelled(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.report(task_id, 1, a_report(task_id=task_id))

    with pytest.raises(TaskFinished):
        desk.inside.request_cancel(task_id)

    assert desk.inside.get(task_id).outcome is Outcome.PASSED


def test_the_wait_before_a_retry_doubles_up_to_its_bound(desk: Desk) -> None:
    task_id = desk.add()
    for attempt, wait in ((1, 10), (2, 20)):
        assert desk.ledger.claim(task_id, worker="worker-1") is not None
        report = a_report(task_id=task_id, attempt=attempt, outcome=Outcome.ERRORED, retryable=True)
        desk.ledger.report(task_id, attempt, report)

        desk.clock.pass_by(wait - 1)
        assert desk.ledger.claim(task_id, worker="worker-1") is None
        desk.clock.pass_by(1)

    assert desk.ledger.claim(task_id, worker="worker-1") is not None


def test_a_retry_is_for_another_worker_while_one_is_ready(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.announce("worker-1", ready=True)
    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))
    desk.clock.pass_by(10)
    desk.ledger.announce("worker-2", ready=True)

    assert desk.ledger.claim(task_id, worker="worker-1") is None

    desk.clock.pass_by(5)
    assignment = desk.ledger.claim(task_id, worker="worker-2")
    assert assignment is not None
    assert assignment.attempt == 2


@pytest.mark.parametrize("why", ["nobody else", "not ready", "silent", "long enough"])
def test_a_retry_is_for_the_same_worker_where_no_other_one_takes_it(desk: Desk, why: str) -> None:
    task_id = desk.claimed()
    if why in ("not ready", "silent"):
        desk.ledger.announce("worker-2", ready=why == "silent", reason="disk full")
        desk.clock.pass_by(30)
    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))
    desk.clock.pass_by(10)
    if why == "not ready":
        desk.ledger.announce("worker-2", ready=False, reason="disk full")
    if why == "long enough":
        desk.clock.pass_by(60)
        desk.ledger.announce("worker-2", ready=True)

    assignment = desk.ledger.claim(task_id, worker="worker-1")

    assert assignment is not None
    assert assignment.attempt == 2


def test_an_assignment_tells_what_the_attempts_before_it_have_brought(desk: Desk) -> None:
    task_id = desk.add()
    first = desk.ledger.claim(task_id, worker="worker-1")
    report = a_report(
        task_id=task_id, outcome=Outcome.ERRORED, retryable=True, reason="no mirror", artifacts="file:///logs/1/"
    )
    desk.ledger.report(task_id, 1, report)
    desk.clock.pass_by(10)
    desk.ledger.claim(task_id, worker="worker-2")
    desk.ledger.release(task_id, 2, reason="draining")
    desk.ledger.claim(task_id, worker="worker-3")
    desk.clock.pass_by(31)
    desk.lapse()

    assignment = desk.ledger.claim(task_id, worker="worker-4", key="k")

    assert first is not None
    assert first.earlier == ()
    assert assignment is not None
    assert [(one.attempt, one.worker, one.outcome, one.reason, one.artifacts) for one in assignment.earlier] == [
        (1, "worker-1", Ending.ERRORED, "no mirror", "file:///logs/1/"),
        (2, "worker-2", Ending.RELEASED, "draining", None),
        (3, "worker-3", Ending.LOST, "the worker worker-3 stopped answering", None),
    ]
    assert [one.finished_at - one.started_at for one in assignment.earlier] == [  # type: ignore[operator]
        timedelta(),
        timedelta(),
        timedelta(seconds=31),
    ]
    assert desk.ledger.claim(task_id, worker="worker-4", key="k") == assignment


def test_a_report_shows_the_attempts_before_it_even_where_its_worker_did_not(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True, reason="why"))
    desk.clock.pass_by(10)
    assignment = desk.ledger.claim(task_id, worker="worker-2")

    desk.ledger.report(task_id, 2, a_report(task_id=task_id, attempt=2))

    assert assignment is not None
    assert desk.inside.get(task_id).report.attempts == assignment.earlier
    assert [one.outcome for one in assignment.earlier] == [Ending.ERRORED]


def test_the_report_of_a_task_that_no_worker_ended_shows_every_attempt(desk: Desk) -> None:
    task_id = desk.add()
    for _ in range(3):
        desk.ledger.claim(task_id, worker="worker-1")
        desk.clock.pass_by(31)
        desk.lapse()

    report = desk.inside.get(task_id).report

    assert [(one.attempt, one.outcome) for one in report.attempts] == [
        (1, Ending.LOST),
        (2, Ending.LOST),
        (3, Ending.LOST),
    ]
    assert [one.finished_at - one.started_at for one in report.attempts] == [timedelta(seconds=31)] * 3


def test_a_declined_task_loses_no_attempt_and_is_to_be_had_after_a_wait_that_doubles(desk: Desk) -> None:
    task_id = desk.add()

    for wait in (5, 10, 20, 40, 60, 60):
        desk.ledger.decline(task_id, worker="worker-1", reason="disk full")
        desk.clock.pass_by(wait - 1)
        assert desk.ledger.claim(task_id, worker="worker-2") is None
        desk.clock.pass_by(1)

    assignment = desk.ledger.claim(task_id, worker="worker-2")
    assert assignment is not None
    assert assignment.attempt == 1


def test_a_task_is_declined_only_while_it_waits_to_be_had(desk: Desk) -> None:
    declined, running, finished = desk.add(), desk.claimed(), desk.claimed()
    desk.ledger.report(finished, 1, a_report(task_id=finished))
    desk.ledger.decline(declined, worker="worker-1", reason="disk full")

    for task_id in (declined, running, finished, TASK_ID, "nonsense"):
        desk.ledger.decline(task_id, worker="worker-2", reason="disk full")

    assert desk.ledger.heartbeat(running, 1) is False
    assert desk.inside.get(finished).outcome is Outcome.PASSED
    desk.clock.pass_by(5)
    assert desk.ledger.claim(declined, worker="worker-1") is not None


def test_what_is_over_is_known_and_nobodys_any_more(desk: Desk) -> None:
    waiting, running, finished, retried, again = desk.add(), desk.claimed(), desk.claimed(), desk.claimed(), desk.add()
    desk.ledger.report(finished, 1, a_report(task_id=finished))
    desk.ledger.report(retried, 1, a_report(task_id=retried, outcome=Outcome.ERRORED, retryable=True))
    for attempt in (1, 2):
        desk.ledger.claim(again, worker="worker-1")
        desk.ledger.release(again, attempt, reason="draining")
    desk.ledger.claim(again, worker="worker-1")
    over = {(finished, 1), (retried, 1), (again, 1), (again, 2)}
    not_over = {(waiting, 1), (running, 1), (running, 2), (finished, 2), (again, 3), (again, 4), (again, 0)}
    unknown = {(TASK_ID, 1), ("nonsense", 1), ("\0\ud800", -1), ("x" * 200, 2**70)}

    assert desk.ledger.over(sorted(over | not_over | unknown)) == over
    assert desk.ledger.over([]) == set()


def test_any_number_of_attempts_can_be_asked_for(desk: Desk) -> None:
    task_id = desk.claimed()
    desk.ledger.report(task_id, 1, a_report(task_id=task_id))
    unknown = [(str(uuid.uuid4()), 1) for _ in range(2500)]

    assert desk.ledger.over([*unknown, (task_id, 1)]) == {(task_id, 1)}


def test_cancelling_again_is_harmless(desk: Desk) -> None:
    waiting, running = desk.add(), desk.claimed()

    for _ in range(2):
        desk.inside.request_cancel(waiting)
        desk.inside.request_cancel(running)
    assert desk.inside.get(waiting).outcome is Outcome.CANCELLED
    assert desk.ledger.heartbeat(running, 1) is True

    desk.ledger.report(running, 1, a_report(task_id=running, outcome=Outcome.CANCELLED))
    desk.inside.request_cancel(running)
    assert desk.inside.get(running).outcome is Outcome.CANCELLED

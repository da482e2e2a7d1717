"""The SQL ledger beyond the workers' view: the outbox, lost messages, and durability."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from alts.shared.errors import ConfigurationError, LedgerUnavailable, UnknownTask
from alts.shared.models.ledger import Assignment, TaskState
from alts.shared.models.report import Kind, Outcome, StageResult
from scheduler.ledger.database import Database
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.retry_policy import LedgerRules
from tests.support.builders import TASK_ID, a_report, a_spec
from tests.support.checkout import ROOT
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger, lapse


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(database_url: str, clock: HandClock) -> Iterator[SqlLedger]:
    with closing(a_ledger(database_url, clock)) as one:
        yield one


def added(ledger: SqlLedger) -> str:
    return ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me@example.org")


def sent(ledger: SqlLedger) -> str:
    task_id = added(ledger)
    ledger.outbox.mark_sent(ledger.outbox.due(limit=10))
    return task_id


def invited(ledger: SqlLedger) -> list[str]:
    return [invitation.task_id for invitation in ledger.outbox.due(limit=10)]


def change_by_hand(database_url: str, statement: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_new_task_is_there_with_everything_that_was_asked(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = added(ledger)

    row = ledger.tasks.get(task_id)

    assert row.spec == a_spec()
    assert (row.queue, row.submitted_by) == (QUEUE, "me@example.org")
    assert (row.state, row.outcome, row.attempt, row.report) == (TaskState.ACCEPTED, None, 0, None)
    assert (row.created_at, row.started_at, row.finished_at) == (clock.now, None, None)


def test_a_new_task_and_its_invitation_are_seen_by_another_process(database_url: str, ledger: SqlLedger) -> None:
    task_id = added(ledger)

    other = a_ledger(database_url, HandClock())

    assert other.tasks.get(task_id).task_id == task_id
    assert invited(other) == [task_id]
    other.close()


@pytest.mark.slow
def test_an_accepted_task_survives_kill_9(database_url: str, clock: HandClock) -> None:
    program = (
        "import os, signal, sys\n"
        "from tests.support.scheduler_parts import HandClock, a_ledger, QUEUE\n"
        "from tests.support.builders import a_spec\n"
        "ledger = a_ledger(sys.argv[1], HandClock())\n"
        "print(ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=''), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, database_url], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == -signal.SIGKILL, done.stderr
    ledger = a_ledger(database_url, clock)
    assert invited(ledger) == [done.stdout.strip()]
    ledger.close()


@pytest.mark.parametrize("task_id", [TASK_ID, "", "nonsense", "\0", TASK_ID.replace("-", ""), "ü" * 36])
def test_an_id_that_is_none_is_unknown(ledger: SqlLedger, task_id: str) -> None:
    with pytest.raises(UnknownTask):
        ledger.tasks.get(task_id)
    with pytest.raises(UnknownTask):
        ledger.tasks.request_cancel(task_id)


def test_writing_an_invitation_sets_the_event(database_url: str, clock: HandClock) -> None:
    filled = threading.Event()
    ledger = a_ledger(database_url, clock, filled=filled)

    added(ledger)

    assert filled.is_set()
    ledger.close()


def test_invitations_come_in_the_order_of_the_tasks_and_no_more_than_asked_for(
    ledger: SqlLedger, clock: HandClock
) -> None:
    ids = []
    for _ in range(3):
        ids.append(added(ledger))
        clock.pass_by(1)

    assert [invitation.task_id for invitation in ledger.outbox.due(limit=2)] == ids[:2]


def test_a_sent_invitation_makes_the_task_queued_and_is_not_sent_again(ledger: SqlLedger) -> None:
    task_id = sent(ledger)

    assert ledger.tasks.get(task_id).state is TaskState.QUEUED
    assert invited(ledger) == []


def test_a_claim_may_overtake_the_note_that_the_invitation_is_sent(ledger: SqlLedger) -> None:
    task_id = added(ledger)
    invitations = ledger.outbox.due(limit=10)
    assert ledger.attempts.claim(task_id, worker="worker-1") is not None

    ledger.outbox.mark_sent(invitations)

    assert ledger.tasks.get(task_id).state is TaskState.RUNNING
    assert invited(ledger) == []


def test_a_late_note_does_not_strike_out_the_next_attempts_invitation(ledger: SqlLedger) -> None:
    task_id = added(ledger)
    invitations = ledger.outbox.due(limit=10)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.release(task_id, 1, reason="draining")

    ledger.outbox.mark_sent(invitations)

    assert ledger.tasks.get(task_id).state is TaskState.ACCEPTED
    assert invited(ledger) == [task_id]


def test_a_postponed_invitation_lets_the_others_pass(ledger: SqlLedger, clock: HandClock) -> None:
    first = added(ledger)
    clock.pass_by(1)
    second = added(ledger)

    ledger.outbox.postpone(ledger.outbox.due(limit=1)[0], seconds=60)

    assert invited(ledger) == [second]
    clock.pass_by(60)
    assert sorted(invited(ledger)) == sorted([first, second])


def test_a_retrys_invitation_is_not_sent_before_its_time(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.report(
        task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, reason="no mirror", retryable=True)
    )

    assert invited(ledger) == []
    assert ledger.tasks.get(task_id).reason == "no mirror"
    clock.pass_by(10)
    assert invited(ledger) == [task_id]


def test_a_lost_invitation_is_sent_again_and_each_time_the_wait_doubles(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)

    for wait in (600, 1200, 2400):
        clock.pass_by(wait - 1)
        assert ledger.queue.resend_lost() == ()
        clock.pass_by(1)
        assert ledger.queue.resend_lost() == (task_id,)
        assert ledger.queue.resend_lost() == ()
        ledger.outbox.mark_sent(ledger.outbox.due(limit=10))


def test_the_wait_is_short_again_for_the_next_attempt(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)
    clock.pass_by(600)
    ledger.queue.resend_lost()
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.release(task_id, 1, reason="draining")
    ledger.outbox.mark_sent(ledger.outbox.due(limit=10))

    clock.pass_by(600)

    assert ledger.queue.resend_lost() == (task_id,)


def test_a_broker_that_forgot_everything_gets_everything_again(ledger: SqlLedger) -> None:
    queued, running = sent(ledger), sent(ledger)
    ledger.attempts.claim(running, worker="worker-1")
    waiting = added(ledger)

    assert ledger.queue.requeue_all() == (queued,)

    assert sorted(invited(ledger)) == sorted([queued, waiting])


def test_a_lapsed_lease_invites_at_once(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    clock.pass_by(31)

    assert lapse(ledger, clock) == (task_id,)

    assert invited(ledger) == [task_id]
    assert ledger.tasks.get(task_id).reason == "the worker worker-1 stopped answering"


def test_the_report_of_a_task_whose_workers_all_died_says_so(database_url: str, clock: HandClock) -> None:
    ledger = a_ledger(database_url, clock, max_attempts=1)
    task_id = added(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    shown = StageResult(stage="provision", outcome=Outcome.PASSED)
    ledger.attempts.heartbeat(task_id, 1, progress=(shown,))
    clock.pass_by(31)
    lapse(ledger, clock)

    report = ledger.tasks.get(task_id).report

    assert report is not None
    assert report.reason == "the worker worker-1 stopped answering during attempt 1; no attempt is left"
    assert report.stages[0] == shown
    assert [finding.kind for finding in report.stages[-1].findings] == [Kind.INSTANCE_LOST]
    assert report.platform == "debian-12 on x86_64"
    assert invited(ledger) == []
    ledger.close()


def test_a_cancelled_waiting_task_is_not_sent(ledger: SqlLedger) -> None:
    task_id = added(ledger)

    row = ledger.tasks.request_cancel(task_id)

    assert (row.state, row.outcome) == (TaskState.FINISHED, Outcome.CANCELLED)
    assert invited(ledger) == []
    assert ledger.tasks.request_cancel(task_id) == row


def test_a_request_that_this_version_does_not_take_any_more_ends_the_task(database_url: str, ledger: SqlLedger) -> None:
    task_id = added(ledger)
    change_by_hand(database_url, """UPDATE tasks SET spec = '{"dist_name": "gone"}'""")

    assert ledger.attempts.claim(task_id, worker="worker-1") is None

    row = ledger.tasks.get(task_id)
    assert row.outcome is Outcome.ERRORED
    assert (
        row.reason == "this version of the service does not accept the stored request any more; submit the task again"
    )


def test_stages_that_this_version_cannot_read_do_not_stop_the_lapse(
    database_url: str, ledger: SqlLedger, clock: HandClock
) -> None:
    task_id = added(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    change_by_hand(database_url, """UPDATE tasks SET progress = '[{"stage": 1}]', attempt = 3""")
    clock.pass_by(31)

    assert lapse(ledger, clock) == (task_id,)

    assert ledger.tasks.get(task_id).outcome is Outcome.ERRORED


def test_names_with_characters_that_no_database_takes_are_kept_without_them(ledger: SqlLedger) -> None:
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="me\0\ud800@example.org")
    ledger.attempts.claim(task_id, worker="worker\0-1")
    ledger.attempts.release(task_id, 1, reason="\ud800")

    row = ledger.tasks.get(task_id)

    assert (row.submitted_by, row.worker, row.reason) == ("me?@example.org", "worker-1", "?")


def test_of_many_workers_one_gets_the_task(database_url: str, ledger: SqlLedger, clock: HandClock) -> None:
    other_process = a_ledger(database_url, clock)
    task_id = added(ledger)

    def claim(number: int) -> Assignment | None:
        return (ledger, other_process)[number % 2].attempts.claim(task_id, worker=f"worker-{number}")

    with ThreadPoolExecutor(12) as pool:
        assignments = [won for won in pool.map(claim, range(12)) if won]

    assert [won.attempt for won in assignments] == [1]
    other_process.close()


def test_a_ledger_that_another_process_has_locked_is_unavailable_and_recovers(tmp_path: Path, clock: HandClock) -> None:
    ledger = SqlLedger(Database(f"sqlite:///{tmp_path}/ledger.sqlite", busy_seconds=0.05), LedgerRules(), clock=clock)
    locker = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailable):
        added(ledger)
    ledger.check()
    locker.execute("ROLLBACK")
    locker.close()

    assert ledger.tasks.get(added(ledger)).state is TaskState.ACCEPTED
    ledger.close()


def test_every_commit_is_on_disk_before_it_is_said_to_be(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/er/ledger.sqlite")

    with database.writing() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
    database.close()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "foo://bar/x"]
)
def test_an_address_that_cannot_be_right_is_the_operators_problem(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        Database(url)


def test_a_file_that_is_no_database_is_the_operators_problem(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database " * 100)

    with pytest.raises(ConfigurationError, match="not a database"):
        Database(f"sqlite:///{tmp_path}/text")


def test_a_folder_that_cannot_be_made_is_the_operators_problem() -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        Database(f"sqlite:///{os.devnull}/ledger.sqlite")


def test_the_history_tells_every_transition_with_its_reason(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.report(
        task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, reason="no mirror", retryable=True)
    )
    clock.pass_by(10)
    ledger.outbox.mark_sent(ledger.outbox.due(limit=10))
    ledger.attempts.decline(task_id, worker="worker-2", reason="disk full")
    clock.pass_by(5)
    ledger.attempts.claim(task_id, worker="worker-2")
    ledger.tasks.request_cancel(task_id)
    ledger.tasks.request_cancel(task_id)
    ledger.attempts.report(
        task_id, 2, a_report(task_id=task_id, attempt=2, outcome=Outcome.CANCELLED, reason="cancelled")
    )

    found = [
        (one.event.value, one.state.value, one.attempt, one.worker, one.reason) for one in ledger.tasks.history(task_id)
    ]

    assert found == [
        ("accepted", "accepted", 0, None, ""),
        ("sent", "queued", 0, None, ""),
        ("claimed", "running", 1, "worker-1", ""),
        ("reported", "accepted", 1, "worker-1", "no mirror"),
        ("sent", "queued", 1, None, ""),
        ("declined", "accepted", 1, "worker-2", "disk full"),
        ("claimed", "running", 2, "worker-2", ""),
        ("cancel_requested", "running", 2, "worker-2", ""),
        ("reported", "finished", 2, "worker-2", "cancelled"),
    ]


def test_a_task_that_is_declined_for_days_does_not_fill_its_history(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)

    for _ in range(100):
        ledger.attempts.decline(task_id, worker="worker-1", reason="disk full")
        clock.pass_by(60)

    assert ledger.tasks.get(task_id).declined == 100
    assert len(ledger.tasks.history(task_id)) == 2 + 7  # 1, 2, 4 ... 64


@pytest.mark.slow
def test_nor_does_the_sending_of_its_invitations(ledger: SqlLedger, clock: HandClock) -> None:
    task_id = sent(ledger)

    for _ in range(100):
        ledger.attempts.decline(task_id, worker="worker-1", reason="disk full")
        clock.pass_by(60)
        ledger.outbox.mark_sent(ledger.outbox.due(limit=10))

    assert ledger.tasks.get(task_id).state is TaskState.QUEUED
    found = [entry.event.value for entry in ledger.tasks.history(task_id)]
    assert found == ["accepted", "sent", *["declined", "sent"] * 7]  # 1, 2, 4 ... 64


def test_a_callers_unfinished_tasks_are_counted(ledger: SqlLedger) -> None:
    running, cancelled = added(ledger), added(ledger)
    added(ledger)
    ledger.attempts.claim(running, worker="worker-1")
    ledger.tasks.request_cancel(cancelled)

    assert ledger.tasks.unfinished_of("me@example.org") == 2
    assert ledger.tasks.unfinished_of("you@example.org") == 0


def test_workers_are_there_for_as_long_as_they_announce_themselves(ledger: SqlLedger, clock: HandClock) -> None:
    ledger.attempts.announce("worker-1", ready=True, queues=[QUEUE])
    ledger.attempts.announce("worker-2", ready=True)
    clock.pass_by(20)
    ledger.attempts.announce("worker-2", ready=False, reason="disk full")

    assert [(one.worker, one.ready, one.reason) for one in ledger.workers.present()] == [
        ("worker-1", True, ""),
        ("worker-2", False, "disk full"),
    ]
    clock.pass_by(10)
    assert [one.worker for one in ledger.workers.present()] == ["worker-2"]


def test_a_retry_may_be_for_the_same_worker_where_the_others_listen_elsewhere(
    ledger: SqlLedger, clock: HandClock
) -> None:
    task_id = sent(ledger)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.report(task_id, 1, a_report(task_id=task_id, outcome=Outcome.ERRORED, retryable=True))
    clock.pass_by(10)
    ledger.attempts.announce("worker-2", ready=True, queues=["docker-aarch64-0"])

    assert ledger.attempts.claim(task_id, worker="worker-1") is not None

"""From claim to report: the ledger's view, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import MachineRequest, Provisioned
from alts.shared.errors import LedgerUnavailable, ProvisionFailed
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import REPORT, Outcome, Report, StageResult
from alts.worker.pending_reports import PendingReports
from alts.worker.work_folder import WorkFolder
from tests.support.builders import a_report, a_spec
from tests.support.fakes import Answer, FakeDebian, FakeInstance, FakeLedger, FakeRunner, Program
from tests.support.log_lines import captured_lines
from tests.support.worker_bench import WorkerBench


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


def a_debian_that_does_at_install(action: Sequence[object], *, seconds: float = 30) -> FakeInstance:
    """Return a machine with an installation of so many seconds, which first calls the action's parts."""
    debian = FakeDebian()
    programs = dict(debian.programs)
    apt_get = programs["apt-get"]

    def slow(argv: Sequence[str]) -> Answer:
        if "install" not in argv:
            return apt_get(argv)
        for call in action:
            assert callable(call)
            call()
        return Answer(seconds=seconds)

    return FakeInstance({**programs, "apt-get": slow})


def test_a_task_is_claimed_executed_and_reported(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())

    summary = bench.run(task_id)

    assert summary is not None
    assert (summary["outcome"], summary["attempt"]) == ("passed", 1)
    task = bench.ledger.get(task_id)
    assert (task.state, task.outcome, task.worker) == (TaskState.FINISHED, Outcome.PASSED, "worker-1")
    assert not list(bench.folder.path.glob("tasks/*"))


def test_a_second_message_for_the_same_task_costs_one_refused_claim(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())

    assert bench.run(task_id) is not None
    assert bench.run(task_id) is None


def test_a_message_for_a_task_that_nobody_knows_does_nothing(bench: WorkerBench) -> None:
    assert bench.run("nobody-knows-me") is None


def test_a_ledger_that_stays_away_at_the_claim_costs_the_invitation_not_the_task(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.ledger.away = True

    assert bench.run(task_id) is None

    assert sum(bench.waits.seconds) >= 60
    assert bench.ledger.get(task_id).state is TaskState.ACCEPTED


def test_a_ledger_that_is_away_for_a_moment_at_the_claim_costs_nothing(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.ledger.away = True

    def come_back() -> None:
        bench.ledger.away = False

    bench.waits.during = come_back

    assert bench.run(task_id) is not None


def test_a_ledger_that_is_away_for_the_report_is_waited_for(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())

    def come_back() -> None:
        bench.ledger.away = len(bench.waits.seconds) < 3

    bench.waits.during = come_back
    bench.runner.instances = [FakeInstance({**FakeDebian().programs, "uname": _away(bench.ledger)})]

    assert bench.run(task_id) is not None

    assert bench.waits.seconds == [0.5, 1.0, 2.0]
    assert bench.ledger.get(task_id).outcome is Outcome.PASSED


def _away(ledger: FakeLedger) -> Program:
    def leave(argv: Sequence[str]) -> Answer:
        ledger.away = True
        return Answer()

    return leave


def test_a_second_attempt_removes_what_the_first_has_left(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.ledger.claim(task_id, worker="somebody-else")
    bench.ledger.release(task_id, 1, reason="gone")

    summary = bench.run(task_id)

    assert summary is not None
    assert summary["attempt"] == 2
    assert bench.runner.leftovers_removed == [(task_id, 2)]


def test_the_stored_report_tells_of_earlier_attempts_as_the_ledgers_does(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.ledger.claim(task_id, worker="somebody-else")
    bench.ledger.release(task_id, 1, reason="gone")

    bench.run(task_id)

    heard = bench.ledger.get(task_id).report
    assert heard is not None
    assert [attempt.attempt for attempt in heard.attempts] == [1]
    assert REPORT.validate_json(bench.spool.content[f"artifacts/{task_id}/2/report.json"]) == heard


def test_a_cancel_is_heard_in_mid_stage_and_reported(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [a_debian_that_does_at_install([lambda: bench.ledger.request_cancel(task_id)])]

    bench.run(task_id)

    assert bench.ledger.get(task_id).outcome is Outcome.CANCELLED
    assert bench.runner.machines_up == 0


def test_a_lost_lease_ends_the_attempt_without_a_word(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [a_debian_that_does_at_install([lambda: bench.ledger.release(task_id, 1, reason="test")])]

    assert bench.run(task_id) is None

    assert bench.ledger.get(task_id).state is TaskState.ACCEPTED
    assert bench.runner.machines_up == 0


def test_a_worker_that_drains_hands_its_task_back(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [a_debian_that_does_at_install([bench.worker.drain])]

    assert bench.run(task_id) is None

    assert bench.ledger.get(task_id).state is TaskState.ACCEPTED
    assert bench.ledger.get(task_id).released == 1


def test_a_worker_that_drains_hands_back_what_still_comes(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.worker.drain()

    assert bench.run(task_id) is None

    assert bench.ledger.get(task_id).state is TaskState.ACCEPTED
    assert bench.ledger.get(task_id).released == 1


def test_a_report_without_an_answer_is_delivered_by_the_slot_s_next_holder(bench: WorkerBench, tmp_path: Path) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [FakeInstance({**FakeDebian().programs, "uname": _away(bench.ledger)})]

    assert bench.run(task_id) is None
    assert bench.ledger.get(task_id).state is TaskState.RUNNING
    with pytest.raises(LedgerUnavailable):
        bench.delivery.deliver_pending()
    bench.folder.close()
    bench.ledger.away = False
    successor = WorkerBench(tmp_path, ledger=bench.ledger)
    successor.delivery.deliver_pending()

    assert f"results/celery-task-meta-{task_id}" in successor.spool.content
    assert bench.ledger.get(task_id).outcome is Outcome.PASSED
    assert not list(bench.folder.path.glob("reports/*"))


def test_a_verdict_that_comes_too_late_is_forgotten(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [FakeInstance({**FakeDebian().programs, "uname": _away(bench.ledger)})]
    assert bench.run(task_id) is None
    bench.ledger.away = False
    bench.ledger.release(task_id, 1, reason="the lease has lapsed")

    bench.delivery.deliver_pending()

    assert bench.ledger.get(task_id).state is TaskState.ACCEPTED
    assert not list(bench.folder.path.glob("reports/*"))


def test_a_drain_does_not_wait_for_a_ledger_that_is_away(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.instances = [FakeInstance({**FakeDebian().programs, "uname": _away(bench.ledger)})]

    bench.waits.during = bench.worker.drain

    assert bench.run(task_id) is None
    assert bench.waits.seconds == [0.5]
    assert len(list(bench.folder.path.glob("reports/*"))) == 1


def test_an_attempt_that_lost_its_lease_does_not_disturb_its_successor_on_the_same_worker(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    summaries: list[object] = []

    def begin_anew() -> None:
        bench.ledger.release(task_id, 1, reason="the lease has lapsed")
        summaries.append(bench.run(task_id))

    bench.runner.instances = [a_debian_that_does_at_install([begin_anew]), FakeInstance(FakeDebian().programs)]

    assert bench.run(task_id) is None
    assert summaries[0] is not None
    assert bench.ledger.get(task_id).outcome is Outcome.PASSED


def test_a_report_that_the_ledger_will_never_take_is_not_said_again(tmp_path: Path) -> None:
    bench = WorkerBench(tmp_path, ledger=StubbornLedger())
    task_id = bench.ledger.add(a_spec())

    assert bench.run(task_id) is None

    assert bench.waits.seconds == []


def test_a_fault_of_ours_is_tried_again_as_often_as_the_ledger_allows(bench: WorkerBench) -> None:
    task_id = bench.ledger.add(a_spec())
    bench.runner.failure = ProvisionFailed("terraform apply failed")

    outcomes = [bench.run(task_id) for _ in range(3)]

    assert outcomes[:2] == [None, None], "Celery must keep the last attempt's word, not the first's"
    assert outcomes[2] is not None
    assert outcomes[2]["outcome"] == "errored"
    assert bench.ledger.get(task_id).outcome is Outcome.ERRORED
    assert bench.ledger.get(task_id).attempt == 3


def test_a_bug_of_ours_loses_no_task_and_is_tried_once_more(tmp_path: Path) -> None:
    bench = WorkerBench(tmp_path, runner=BrokenRunner())
    task_id = bench.ledger.add(a_spec())

    first, second = bench.run(task_id), bench.run(task_id)

    assert first is None
    assert second is not None
    task = bench.ledger.get(task_id)
    assert (task.state, task.outcome, task.attempt) == (TaskState.FINISHED, Outcome.ERRORED, 2)
    assert task.report is not None
    assert task.report.reason == "internal: ZeroDivisionError: a bug"


def test_every_line_of_an_attempt_names_it_also_from_the_heartbeats_thread(tmp_path: Path) -> None:
    ledger = DeafLedger()
    bench = WorkerBench(tmp_path, ledger=ledger)
    task_id = ledger.add(a_spec())
    bench.runner.instances = [a_debian_that_does_at_install([lambda: ledger.asked.wait(10)], seconds=0)]

    with captured_lines() as lines:
        bench.run(task_id)

    said = [line.partition(": ")[2] for line in lines]
    assert said[0] == f"task claimed attempt=1 task_id={task_id}"
    assert f"heartbeat not answered attempt=1 error=no answer task_id={task_id}" in said
    assert all("attempt=1 " in line and f"task_id={task_id}" in line for line in said)


def test_lines_about_a_dead_worker_name_no_attempt_of_the_living(tmp_path: Path) -> None:
    bench = WorkerBench(tmp_path)
    dead = WorkFolder(tmp_path)
    dead.reset()
    PendingReports(dead.reports).keep(a_report())
    dead.close()
    task_id = bench.ledger.add(a_spec())
    bench.ledger.claim(task_id, worker="worker-2")
    bench.ledger.release(task_id, 1, reason="gone")

    with captured_lines() as lines:
        bench.run(task_id)

    [adopted] = [line.partition(": ")[2] for line in lines if "adopted" in line]
    assert adopted == "a dead worker's spool adopted artifacts=0 reports=1"


def test_a_refused_claim_names_the_task(bench: WorkerBench) -> None:
    with captured_lines() as lines:
        bench.run("nobody-knows-me")

    assert [line.partition(": ")[2] for line in lines] == ["claim refused task_id=nobody-knows-me"]


class DeafLedger(FakeLedger):
    """Answers no heartbeat."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def heartbeat(self, task_id: str, attempt: int, *, progress: tuple[StageResult, ...] = ()) -> bool:
        self.asked.set()
        raise LedgerUnavailable("no answer")


class StubbornLedger(FakeLedger):
    """Refuses every report, finally."""

    def report(self, task_id: str, attempt: int, report: Report) -> Outcome | None:
        raise LedgerUnavailable("413 Content Too Large", retryable=False)


class BrokenRunner(FakeRunner):
    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        raise ZeroDivisionError("a bug")
        yield

"""Removing what nobody needs any more, with and without a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from alts.runners.base import Machine
from alts.shared.errors import LedgerUnavailable
from alts.worker.janitor import Janitor
from tests.support.builders import a_report, a_spec
from tests.support.fakes import FakeLedger, FakeRunner
from tests.support.worker_bench import LONGEST_LIFE, WorkerBench


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


def test_what_is_over_is_removed_and_nothing_else(bench: WorkerBench) -> None:
    own = bench.folder.identity
    over, running = bench.ledger.add(a_spec()), bench.ledger.add(a_spec())
    bench.ledger.claim(running, worker="somebody")
    bench.ledger.claim(over, worker="somebody")
    bench.ledger.report(over, 1, a_report(task_id=over))
    stays = [Machine("elsewhere", running, 1), Machine("of another installation", "unknown-here", 1)]
    bench.runner.present = [*stays, Machine("elsewhere", over, 1), Machine(own, "an-end-that-failed", 3)]
    (bench.folder.path / "tasks" / "an-end-that-failed-3").mkdir(parents=True)

    bench.janitor.reap()

    assert bench.runner.present == stays
    assert not list(bench.folder.path.glob("tasks/*"))


def test_an_attempt_that_runs_keeps_its_machine_and_its_folder(bench: WorkerBench) -> None:
    machine = Machine(bench.folder.identity, "t", 1)
    bench.runner.present = [machine]

    with bench.running.add(("t", 1), seconds=60), bench.folder.attempt("t", 1) as folder:
        bench.janitor.reap()

        assert folder.exists()
    assert bench.runner.present == [machine]


def test_what_the_runner_holds_for_later_tasks_stays(bench: WorkerBench) -> None:
    held = Machine(bench.folder.identity, "waits", 0)
    bench.runner.present = [held, Machine(bench.folder.identity, "an-end-that-failed", 0)]
    bench.runner.holds = {("waits", 0)}

    bench.janitor.reap()

    assert bench.runner.present == [held]


def test_machines_of_another_host_s_pool_stay_until_they_are_older_than_any_can_be(bench: WorkerBench) -> None:
    young = Machine("elsewhere", "young", 0, age=LONGEST_LIFE - 1)
    neighbour = Machine(bench.folder.identity, "waits", 0, age=LONGEST_LIFE + 1)
    bench.runner.present = [young, neighbour, Machine("elsewhere", "old", 0, age=LONGEST_LIFE + 1)]
    bench.runner.holds = {("waits", 0)}

    bench.janitor.reap()

    assert bench.runner.present == [young, neighbour]


def test_without_the_ledger_the_rest_is_removed_all_the_same(bench: WorkerBench) -> None:
    bench.ledger.away = True
    strange = Machine("elsewhere", "t", 1)
    bench.runner.present = [strange, Machine(bench.folder.identity, "an-end-that-failed", 3)]

    with pytest.raises(LedgerUnavailable):
        bench.janitor.reap()

    assert bench.runner.present == [strange]


def test_an_engine_that_is_away_is_cleaned_when_it_is_back(bench: WorkerBench) -> None:
    bench.runner.present = [Machine(bench.folder.identity, "t", 1)]
    bench.runner.away = "the engine is away"
    bench.janitor.reap()
    assert bench.runner.present

    bench.runner.away = ""
    bench.janitor.reap()
    assert not bench.runner.present


def test_the_ledger_is_asked_once_for_all_runners_and_not_at_all_for_nothing(bench: WorkerBench) -> None:
    ledger = CountedLedger()
    first, second = FakeRunner(), FakeRunner()
    janitor = Janitor(
        ledger,
        bench.folder,
        {"first": first, "second": second},
        running=bench.running,
        reports=bench.spool,
        artifacts=bench.spool,
        longest_life=LONGEST_LIFE,
    )

    janitor.reap()
    assert ledger.asked == []
    first.present = [Machine("stranger", "b", 1)]
    second.present = [Machine("stranger", "a", 2), Machine("stranger", "b", 1)]
    janitor.reap()
    assert ledger.asked == [[("a", 2), ("b", 1)]]


class CountedLedger(FakeLedger):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[tuple[str, int]]] = []

    def over(self, attempts: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        self.asked.append(attempts)
        return super().over(attempts)

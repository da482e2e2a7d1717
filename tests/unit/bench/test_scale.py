"""The full ledger of a scale run, and its tables."""

from __future__ import annotations

from pathlib import Path

from alts.shared.models.report import Outcome
from bench.http_load import Load
from bench.scale import Ledger, Moment, fill, ledger_table, table
from tests.support.builders import a_report, a_spec
from tests.support.scheduler_parts import QUEUE, HandClock, a_ledger

ME = "me@example.org"


def test_copies_of_a_task_have_ids_and_histories_of_their_own(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by=ME)
    ledger.attempts.claim(task_id, worker="worker-1")
    ledger.attempts.report(task_id, 1, a_report(task_id=task_id))
    history = [entry.event for entry in ledger.tasks.history(task_id)]
    ledger.close()

    fill(tmp_path / "ledger.sqlite", task_id, 50)

    ledger = a_ledger(tmp_path, HandClock())
    with ledger.tasks._database.reading() as db:
        ids = [str(row[0]) for row in db.exec_driver_sql("SELECT id FROM tasks")]
    assert len(set(ids)) == 51
    assert {len(one) for one in ids} == {36}
    assert {ledger.tasks.get(one).outcome for one in ids} == {Outcome.PASSED}
    assert all([entry.event for entry in ledger.tasks.history(one)] == history for one in ids)
    ledger.close()


def test_the_cost_of_a_task_is_what_the_processes_have_used_meanwhile() -> None:
    moments = [
        Moment(0.0, 0, {"scheduler": 1.0, "worker-0": 2.0}, {"scheduler": 100, "worker-0": 90}),
        Moment(5.0, 50, {"scheduler": 1.5, "worker-0": 4.0}, {"scheduler": 110, "worker-0": 95}),
        Moment(10.0, 100, {"scheduler": 2.0, "worker-0": 6.0}, {"scheduler": 120, "worker-0": 96}),
    ]

    first, _, scheduler, worker = table(moments).splitlines()

    assert first == "100 tasks in 10 s: 10.0 a second"
    assert scheduler.split()[:2] == ["scheduler", "10.00"]
    assert worker.split()[:2] == ["worker-0", "40.00"]
    assert worker.split()[-1] == "96"


def test_each_ledger_has_a_line() -> None:
    load = Load(500.0, 0.01, 0.05)

    _, empty, full = ledger_table([Ledger(0, 0, 1, 2.0, load, load), Ledger(10, 5, 3, 2.5, load, load)]).splitlines()

    assert empty.split() == ["0", "0", "1", "2.0", "s", "500", "50", "ms", "500", "50", "ms"]
    assert full.split()[:4] == ["10", "5", "3", "2.5"]

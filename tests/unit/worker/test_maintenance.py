"""The loops beside the tasks."""

from __future__ import annotations

from pathlib import Path

from alts.runners.base import Machine
from alts.shared.models.ledger import TaskState
from alts.worker.consumer import Consuming
from alts.worker.maintenance import Upkeep
from alts.worker.pending_reports import PendingReports
from alts.worker.presence import Presence
from tests.support.builders import a_report, a_spec
from tests.support.stack import until
from tests.support.worker_bench import WorkerBench


def upkeep_of(bench: WorkerBench) -> Upkeep:
    presence = Presence(bench.worker, bench.ledger, Consuming(("docker-x86_64-0",)))
    return Upkeep(presence, bench.delivery, bench.janitor, reap_interval=0.01)


def test_the_worker_is_announced_its_reports_are_delivered_and_orphans_removed(tmp_path: Path) -> None:
    bench = WorkerBench(tmp_path)
    task_id = bench.ledger.add(a_spec())
    bench.ledger.claim(task_id, worker="worker-1")
    PendingReports(bench.folder.reports).keep(a_report(task_id=task_id))
    bench.runner.present = [Machine(bench.folder.identity, "an-end-that-failed", 3)]

    with upkeep_of(bench):
        until(lambda: "worker-1" in bench.ledger.announced, seconds=10, interval=0.01)
        until(lambda: bench.ledger.get(task_id).state is TaskState.FINISHED, seconds=10, interval=0.01)
        until(lambda: not bench.runner.present, seconds=10, interval=0.01)


def test_the_cleanup_goes_on_while_the_ledger_is_away(tmp_path: Path) -> None:
    bench = WorkerBench(tmp_path)
    bench.ledger.away = True
    strange = Machine("elsewhere", "t", 1)
    bench.runner.present = [strange]

    with upkeep_of(bench):
        bench.runner.present = [strange, Machine(bench.folder.identity, "an-end-that-failed", 3)]
        until(lambda: bench.runner.present == [strange], seconds=10, interval=0.01)

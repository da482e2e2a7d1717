"""A worker on fakes, assembled as alts.worker.composition does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS
from alts.shared.models.celery_result import summary_key
from alts.worker.celery_task import run_task
from alts.worker.delivery import Delivery
from alts.worker.executor import Executor
from alts.worker.janitor import Janitor
from alts.worker.patience import Patience
from alts.worker.pending_reports import PendingReports
from alts.worker.readiness import Readiness
from alts.worker.running import RunningAttempts
from alts.worker.work_folder import WorkFolder
from alts.worker.worker import Worker
from tests.support.builders import a_config
from tests.support.fakes import FakeLedger, FakeRunner, FakeSpool

LONGEST_LIFE = 100.0
"""Seconds after which a foreign pool's machine is taken for abandoned."""


class Waits(threading.Event):
    """An event whose waits are over at once and count as time passed."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.during: Callable[[], object] = lambda: None
        """Called in each wait."""

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        self.during()
        return self.is_set()

    def clock(self) -> float:
        return sum(self.seconds)


class WorkerBench:
    """A worker named "worker-1" with one runner, "docker", and a short heartbeat."""

    def __init__(self, root: Path, *, ledger: FakeLedger | None = None, runner: FakeRunner | None = None) -> None:
        config = a_config(heartbeat_seconds=0.05)
        self.ledger = ledger or FakeLedger()
        self.runner = runner or FakeRunner()
        self.spool = FakeSpool()
        self.waits = Waits()
        self.folder = WorkFolder(root)
        self.running = RunningAttempts()
        patience = Patience(self.waits, clock=self.waits.clock)
        reports = PendingReports(self.folder.reports)
        self._results_root = config.results_root_directory
        self.delivery = Delivery(self.ledger, reports, self.spool, patience=patience, results_root=self._results_root)
        self.janitor = Janitor(
            self.ledger,
            self.folder,
            {"docker": self.runner},
            running=self.running,
            reports=reports,
            artifacts=self.spool,
            longest_life=LONGEST_LIFE,
        )
        executor = Executor(
            runner=self.runner,
            plans=PLANS,
            packages=PACKAGE_MANAGERS,
            artifacts=self.spool,
            artifacts_root="artifacts",
            worker="worker-1",
        )
        self.worker = Worker(
            config,
            self.ledger,
            {"docker": executor},
            name="worker-1",
            folder=self.folder,
            running=self.running,
            readiness=Readiness((self.runner.trouble,), max_age=-1.0),
            janitor=self.janitor,
            delivery=self.delivery,
            patience=patience,
        )

    def run(self, task_id: str) -> dict[str, Any] | None:
        """Run the Celery task. Returns the summary that it stores for Celery's backend, if it does."""
        run_task(self.worker, task_id)
        stored = self.spool.content.pop(summary_key(self._results_root, task_id), None)
        return None if stored is None else json.loads(stored)["result"]

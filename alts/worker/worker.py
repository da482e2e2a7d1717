"""A worker: claims tasks, executes attempts, reports, and hands tasks back when it ends."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextvars import Context

from alts.core.stop import StopReason
from alts.runners.base import Order
from alts.shared.config import Config
from alts.shared.errors import LedgerUnavailable, StaleAttempt
from alts.shared.models.ledger import Assignment, Ledger
from alts.shared.models.report import Report
from alts.shared.models.routing import runner_for
from alts.worker.delivery import Delivery
from alts.worker.executor import Executor
from alts.worker.heartbeat import Heartbeat
from alts.worker.janitor import Janitor
from alts.worker.patience import Patience
from alts.worker.readiness import Readiness
from alts.worker.running import RunningAttempts
from alts.worker.work_folder import WorkFolder

log = logging.getLogger(__name__)


class Worker:
    """Serves the Celery task. One per process, called by all of Celery's threads."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        *,
        name: str,
        folder: WorkFolder,
        running: RunningAttempts,
        readiness: Readiness,
        janitor: Janitor,
        delivery: Delivery,
        patience: Patience,
    ) -> None:
        """`executors` by the runner's name. `name`: this worker's name in the ledger and in reports."""
        self.name = name
        self._config = config
        self._ledger = ledger
        self._executors = executors
        self._folder = folder
        self._running = running
        self._readiness = readiness
        self._janitor = janitor
        self._delivery = delivery
        self._patience = patience
        self._stopping = False

    @property
    def trouble(self) -> str:
        """Why no task may be claimed now; empty if one may. Takes seconds at most."""
        return "this worker is shutting down" if self._stopping else self._readiness.trouble

    @property
    def stopping(self) -> bool:
        """Whether the worker begins no further task."""
        return self._stopping

    @property
    def running(self) -> int:
        """Number of attempts that run now."""
        return len(self._running.keys())

    def decline(self, task_id: str, reason: str) -> None:
        """Leave the task to another worker, or to a later invitation."""
        log.info("invitation declined", extra={"reason": reason})
        try:
            self._ledger.decline(task_id, worker=self.name, reason=reason)
        except LedgerUnavailable as error:
            # The invitation is spent, but not the task: the ledger sends another one (resend_after).
            log.warning("decline not delivered", extra={"error": str(error)})

    def claim(self, task_id: str) -> Assignment | None:
        """Claim the task's next attempt. Returns None if the ledger refuses.

        Raises LedgerUnavailable after alts.worker.patience.PATIENCE seconds.
        """
        # One key for all repetitions: if an answer was lost on its way back, the ledger gives it again.
        key = secrets.token_hex(16)
        return self._patience.ask(lambda: self._ledger.claim(task_id, worker=self.name, key=key))

    def execute(self, assignment: Assignment) -> Report:
        """Run the attempt while a heartbeat prolongs its lease.

        Raises Stopped if the lease is lost or the worker drains: the attempt has no verdict then.
        """
        executor = self._executors[runner_for(assignment.spec, self._config.runners)]
        task_id, attempt = assignment.task_id, assignment.attempt
        with (
            self._running.add((task_id, attempt), seconds=self._config.task_timeout) as stop,
            self._folder.attempt(task_id, attempt) as folder,
            Heartbeat(self._ledger, assignment, stop=stop, interval=self._config.heartbeat_seconds) as heart,
        ):
            if attempt > 1:
                # The previous worker may have died on this host. Log lines about it are not about this attempt.
                Context().run(self._janitor.remove_dead)
            order = Order(task_id, attempt, assignment.spec, folder, assignment.earlier)
            return executor.execute(order, stop=stop, show=heart.show)

    def report(self, report: Report) -> None:
        """Deliver an attempt's report. Raises StaleAttempt or LedgerUnavailable (see Delivery.deliver)."""
        self._delivery.deliver(report)

    def hand_back(self, assignment: Assignment, reason: StopReason) -> None:
        """Release a stopped task for another worker. Does nothing after a lost lease, which released it already."""
        if reason is StopReason.LEASE_LOST:
            return
        try:
            self._ledger.release(assignment.task_id, assignment.attempt, reason=reason.value)
        except (StaleAttempt, LedgerUnavailable) as error:
            log.warning("task not handed back", extra={"error": str(error)})

    def stop_claiming(self) -> None:
        """Begin no further task. Later invitations are handed back; running attempts go on."""
        self._stopping = True

    def drain(self) -> None:
        """Stop all attempts, running or later, and hand their tasks back unfinished."""
        self._stopping = True
        self._patience.hurry()
        self._running.drain()

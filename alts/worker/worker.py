"""A worker: its folder, its runners, its ledger, and how it carries a task from claim to report."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from alts.core.stop import Stop, StopReason
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS, with_timeouts
from alts.runners.base import Order, Runner
from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.config import Config
from alts.shared.errors import InfrastructureError, LedgerUnavailable, StaleAttempt, StorageUnavailable
from alts.shared.models.celery_result import Summary, summary_content, summary_key, summary_of
from alts.shared.models.ledger import Assignment, Ledger
from alts.shared.models.report import Finding, Kind, Outcome, Report, StageResult
from alts.shared.models.routing import runner_for
from alts.shared.storage.factory import artifact_store
from alts.worker.executor import SETTLE_SECONDS, Executor
from alts.worker.heartbeat import Heartbeat
from alts.worker.orphans import Attempt, orphans
from alts.worker.pending_reports import UnheardReports
from alts.worker.readiness import Readiness, disk_check
from alts.worker.spool import Spool
from alts.worker.work_folder import WorkFolder

log = logging.getLogger(__name__)

# The ledger may be away for minutes. Longer than this an invitation does not wait for it (another one comes), nor does
# a task's thread with its report (which is on disk, see tell_unheard). Seconds.
CLAIM_PATIENCE = 60.0
REPORT_PATIENCE = 60.0
LONGEST_DELAY = 10.0

Answer = TypeVar("Answer")


@dataclass
class Worker:
    """What the Celery task works with; one for a process."""

    config: Config
    ledger: Ledger
    folder: WorkFolder
    executors: Mapping[str, Executor]
    """By the runner's name."""
    claim_patience: float = CLAIM_PATIENCE
    report_patience: float = REPORT_PATIENCE
    sleep: Callable[[float], object] | None = None
    """None to wait until the time is over, or tasks are handed back."""
    clock: Callable[[], float] = time.monotonic
    draining: bool = False
    """Whether tasks are handed back instead of carried out."""
    spool: Spool | None = None
    """Where the executors' artifacts go, and summaries; None where a test keeps none."""
    readiness: Readiness = field(default_factory=lambda: Readiness(()))
    stopping: bool = False
    """Whether no further task is begun."""
    slots: int | None = None
    """How many tasks it carries out at once; None where that is not known yet."""
    _hurry: threading.Event = field(default_factory=threading.Event)
    _stops: dict[tuple[str, int], Stop] = field(default_factory=dict)
    """Of what runs now, by task and attempt: one that has lost its lease may still be here beside its successor."""

    @property
    def name(self) -> str:
        """What the ledger knows this worker by."""
        return worker_name(self.config, self.folder)

    @property
    def trouble(self) -> str:
        """Why no task is to be taken now; empty where one may be."""
        return "this worker is ending" if self.stopping else self.readiness.trouble

    @property
    def busy(self) -> bool:
        """Whether an attempt is under way."""
        return bool(self._stops)

    @property
    def free(self) -> int | None:
        """How many more tasks it would begin now; None where that is not known."""
        return None if self.slots is None else max(0, self.slots - len(self._stops))

    def decline(self, task_id: str, reason: str) -> None:
        """Let somebody else have the invitation, or have it again later."""
        log.info("invitation declined", extra={"task_id": task_id, "reason": reason})
        try:
            self.ledger.decline(task_id, worker=self.name, reason=reason)
        except LedgerUnavailable as error:
            # Spent, but not the task: the ledger sends another one (resend_after).
            log.warning("declining not heard", extra={"task_id": task_id, "error": str(error)})

    def claim(self, task_id: str) -> Assignment | None:
        """The task for this worker's next attempt; None where it is not to be had.

        Raises LedgerUnavailable when the patience is over.
        """
        # The same key each time: an answer that got lost on the way back is given again.
        key = secrets.token_hex(16)
        return self._patiently(
            lambda: self.ledger.claim(task_id, worker=self.name, key=key), patience=self.claim_patience
        )

    def execute(self, assignment: Assignment) -> Report:
        """Run the attempt while the heart beats. Raises Stopped where it is not ours to finish any more."""
        stop = Stop(self.config.task_timeout)
        executor = self.executors[runner_for(assignment.spec, self.config.runners)]
        key = assignment.task_id, assignment.attempt
        self._stops[key] = stop
        if self.draining:
            stop.request(StopReason.DRAINING)
        try:
            with (
                self.folder.attempt(assignment.task_id, assignment.attempt) as folder,
                Heartbeat(self.ledger, assignment, stop=stop, interval=self.config.heartbeat_seconds) as heart,
            ):
                if assignment.attempt > 1:
                    # The worker of the attempt before may have died on this host.
                    self.remove_leftovers()
                order = Order(assignment.task_id, assignment.attempt, assignment.spec, folder, assignment.earlier)
                return executor.execute(order, stop=stop, show=heart.show)
        finally:
            del self._stops[key]

    def report(self, assignment: Assignment, report: Report) -> Outcome | None:
        """Tell the ledger; the task's outcome, None where another attempt follows.

        Raises StaleAttempt, or LedgerUnavailable when the patience is over: tell_unheard goes on from there.
        """
        self._unheard.keep(report)
        try:
            outcome = self._patiently(
                lambda: self.ledger.report(assignment.task_id, assignment.attempt, report),
                patience=self.report_patience,
            )
        except StaleAttempt:
            self._unheard.forget(report)
            raise
        except LedgerUnavailable as error:
            if not error.retryable:
                self._unheard.forget(report)
            raise
        self._unheard.forget(report)
        return outcome

    def tell_unheard(self) -> None:
        """Tell the ledger, which was away then, what attempts that have ended here or elsewhere on the host found.

        Raises LedgerUnavailable where it still is.
        """
        for report in self._unheard.waiting():
            task = {"task_id": report.task_id, "attempt": report.attempt}
            try:
                outcome = self.ledger.report(report.task_id, report.attempt, report)
            except StaleAttempt:
                log.warning("late report refused: the attempt is stale", extra=task)
            except LedgerUnavailable as error:
                if error.retryable:
                    raise
                log.error("late report refused", extra={**task, "error": str(error)})  # noqa: TRY400 - it says all
            else:
                log.info("late report heard", extra=task)
                if outcome is not None:
                    self.keep_summary(summary_of(report, outcome))
            self._unheard.forget(report)

    def keep_summary(self, summary: Summary) -> None:
        """Let Celery's result backend have it, behind the attempt's artifacts."""
        if self.spool is None:
            return
        task_id = str(summary["task_id"])
        key = summary_key(self.config.results_root_directory, task_id)
        content = summary_content(summary, now=datetime.now(UTC))
        group = f"{task_id}-{summary['attempt']}"
        try:
            self.spool.put(key, content, content_type="application/json", group=group)
        except StorageUnavailable as error:
            log.warning("summary not stored", extra={"task_id": task_id, "error": str(error)})
            return
        self.spool.settle(group, seconds=SETTLE_SECONDS)

    def hand_back(self, assignment: Assignment, reason: StopReason) -> None:
        """Let another worker have a task that was stopped; a lost lease has done that already."""
        if reason is StopReason.LEASE_LOST:
            return
        try:
            self.ledger.release(assignment.task_id, assignment.attempt, reason=reason.value)
        except (StaleAttempt, LedgerUnavailable) as error:
            log.warning("task not handed back", extra={"task_id": assignment.task_id, "error": str(error)})

    def remove_leftovers(self, *, own: bool = False) -> None:
        """Destroy the machines and folders of workers on this host that have died.

        `own`: also those of our slot's previous holder; only before the first task.
        """
        if own:
            self._remove_all_of(self.folder.identity)
        with self.folder.dead() as slots:
            for slot in slots:
                self._remove_all_of(slot.identity)
                reports = self._unheard.adopt(slot.reports)
                artifacts = 0 if self.spool is None else self.spool.adopt(slot.spool)
                if reports or artifacts:
                    log.info("a dead worker's spool adopted", extra={"reports": reports, "artifacts": artifacts})

    def reap(self) -> None:
        """Remove what dead workers have left, here and on the engines, and what an end of our own did not reach.

        Raises LedgerUnavailable where it could not say what is over; the rest is done then.
        """
        self.remove_leftovers()
        self.folder.tidy(lambda: set(self._stops))
        away: LedgerUnavailable | None = None

        def over(attempts: Sequence[Attempt]) -> Collection[Attempt]:
            nonlocal away
            try:
                return self.ledger.over(attempts)
            except LedgerUnavailable as error:
                away = error
                return ()

        for name, executor in self.executors.items():
            runner = executor.runner
            try:
                machines = tuple(runner.machines())
                neighbours = self.folder.neighbours()
                doomed = orphans(
                    machines, own=self.folder.identity, active=set(self._stops), neighbours=neighbours, over=over
                )
                for task_id, attempt in doomed:
                    runner.remove(task_id, attempt)
                    log.info("orphan removed", extra={"runner": name, "task_id": task_id, "attempt": attempt})
            except InfrastructureError as error:
                log.warning("orphans not removed", extra={"runner": name, "error": str(error)})
        if away is not None:
            raise away

    def stop_claiming(self) -> None:
        """Begin no further task; what comes is handed back. Those that are under way go on."""
        self.stopping = True

    def drain(self) -> None:
        """Ask every task, and whatever comes from now on, to end and be handed back unfinished."""
        self.stopping = self.draining = True
        self._hurry.set()
        for stop in list(self._stops.values()):
            stop.request(StopReason.DRAINING)

    def close(self) -> None:
        for executor in self.executors.values():
            executor.runner.close()
        if self.spool is not None:
            self.spool.close()
        self.folder.close()

    @property
    def _unheard(self) -> UnheardReports:
        return UnheardReports(self.folder.reports)

    def _patiently(self, ask: Callable[[], Answer], *, patience: float) -> Answer:
        """Ask the ledger again for as long as it is away, at growing intervals."""
        delay, until = 0.5, self.clock() + patience
        while True:
            try:
                return ask()
            except LedgerUnavailable as error:
                if not error.retryable or self.clock() >= until or self._hurry.is_set():
                    raise
            (self.sleep or self._hurry.wait)(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    def _remove_all_of(self, identity: str) -> None:
        for name, executor in self.executors.items():
            try:
                count = executor.runner.remove_all_of(identity)
            except InfrastructureError as error:
                log.warning("leftovers not removed", extra={"runner": name, "error": str(error)})
            else:
                if count:
                    log.info("leftovers removed", extra={"runner": name, "machines": count})


def worker_name(config: Config, folder: WorkFolder) -> str:
    """What the ledger and reports call a worker: "name" for a host's first process, "name-2" for the one beside it."""
    slot = folder.path.name
    return config.worker_name if slot == "1" else f"{config.worker_name}-{slot}"


def open_worker(config: Config, ledger: Ledger, *, runners: Mapping[str, MakeRunner] = RUNNERS) -> Worker:
    """A worker ready for its first claim: what its dead predecessors on this host left is gone.

    `runners` makes those that the configuration names.

    Raises ConfigurationError or InfrastructureError where it cannot work here.
    """
    with ExitStack() as undo:
        folder = WorkFolder(config.work_folder)
        undo.callback(folder.close)
        folder.reset()
        spool = Spool(folder.spool, artifact_store(config), limit=config.spool_limit_mb << 20)
        undo.callback(spool.close, seconds=0.0)
        plans = with_timeouts(PLANS, config.stage_timeouts)
        executors = {}
        for name in config.runners:
            runner: Runner = runners[name](config, worker=folder.identity, folder=folder.shared)
            undo.callback(runner.close)
            executors[name] = Executor(
                runner=runner,
                plans=plans,
                packages=PACKAGE_MANAGERS,
                artifacts=spool,
                settle=spool.settle,
                artifacts_root=config.artifacts_root_directory,
                worker=worker_name(config, folder),
            )
        worker = Worker(config=config, ledger=ledger, folder=folder, executors=executors, spool=spool)
        worker.readiness = _readiness(worker)
        worker.remove_leftovers(own=True)
        undo.pop_all()
    return worker


def _readiness(worker: Worker) -> Readiness:
    """Room on the disks that tasks need, runners that answer, and room for logs. Cheap checks come first."""
    config = worker.config
    runners = [executor.runner for executor in worker.executors.values()]

    def runners_disks() -> str:
        # Asked every time: an engine that is away now may be here later.
        folders = dict.fromkeys(folder for runner in runners for folder in runner.folders())
        checks = (disk_check(folder, min_free_mb=config.min_free_disk_mb) for folder in folders)
        return next(filter(None, (check() for check in checks)), "")

    def spool_full() -> str:
        return "" if worker.spool is None else worker.spool.trouble

    own_disk = disk_check(worker.folder.path, min_free_mb=config.min_free_disk_mb)
    return Readiness((own_disk, spool_full, *(runner.trouble for runner in runners), runners_disks))


def internal_error(assignment: Assignment, *, worker: str, message: str) -> Report:
    """The report of an attempt that a bug of ours has ended; tried again once."""
    finding = Finding(kind=Kind.INTERNAL, message=message)
    stage = StageResult(stage="internal", outcome=Outcome.ERRORED, findings=(finding,), reason=message)
    now = datetime.now(UTC)
    return Report(
        task_id=assignment.task_id,
        attempt=assignment.attempt,
        attempts=assignment.earlier,
        outcome=Outcome.ERRORED,
        reason=f"internal: {message}",
        retryable=assignment.attempt == 1,
        stages=(stage,),
        platform=assignment.spec.platform,
        worker=worker,
        started_at=now,
        finished_at=now,
    )

"""The one Celery task: claim, execute, report."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import Celery
from celery.exceptions import Ignore

from alts.core.stop import Stopped, StopReason
from alts.shared.broker import TASK_NAME
from alts.shared.errors import LedgerUnavailable, StaleAttempt
from alts.shared.models.celery_result import Summary, summary_of
from alts.shared.models.ledger import Assignment
from alts.shared.models.report import Report
from alts.worker.worker import Worker, internal_error

log = logging.getLogger(__name__)


def register_task(app: Celery, worker: Callable[[], Worker]) -> None:
    """Give the application its task. `worker` is asked for when a message comes, not before."""

    @app.task(name=TASK_NAME, shared=False)  # type: ignore[untyped-decorator]
    def run(task_id: str) -> None:
        here = worker()
        summary = run_task(here, task_id)
        if summary is not None:
            here.keep_summary(summary)
        # Celery itself stores nothing: what it stores is lost where S3 is away, and comes twice where a task does.
        raise Ignore


def run_task(worker: Worker, task_id: str) -> Summary | None:
    """Carry one task from claim to report; the summary for Celery's result backend, None where it is not ours."""
    if (trouble := worker.trouble) and not worker.stopping:
        worker.decline(task_id, trouble)
        return None
    try:
        assignment = worker.claim(task_id)
    except LedgerUnavailable as error:
        # The invitation is spent, but not the task: the ledger sends another one (resend_after).
        log.warning("claim not heard", extra={"task_id": task_id, "error": str(error)})
        return None
    if assignment is None:
        log.info("claim refused", extra={"task_id": task_id})
        return None
    if worker.stopping:
        # Claimed all the same: handing it back makes the ledger invite another worker at once.
        worker.hand_back(assignment, StopReason.DRAINING)
        return None
    report = _execute(worker, assignment)
    return None if report is None else _tell(worker, assignment, report)


def _execute(worker: Worker, assignment: Assignment) -> Report | None:
    """The attempt's report; None where somebody else is to carry the task on."""
    task = {"task_id": assignment.task_id, "attempt": assignment.attempt}
    log.info("task claimed", extra=task)
    try:
        return worker.execute(assignment)
    except Stopped as stopped:
        log.warning("task given up", extra={**task, "reason": stopped.reason.value})
        worker.hand_back(assignment, stopped.reason)
        return None
    except Exception as error:
        # The one place that catches everything: a bug of ours must not lose the task.
        log.exception("task broke", extra=task)
        message = f"{type(error).__name__}: {error}"
        return internal_error(assignment, worker=worker.name, message=message)


def _tell(worker: Worker, assignment: Assignment, report: Report) -> Summary | None:
    """Report to the ledger; the summary of a task that has ended with it."""
    task = {"task_id": assignment.task_id, "attempt": assignment.attempt}
    try:
        outcome = worker.report(assignment, report)
    except StaleAttempt:
        log.warning("report refused: the attempt is stale", extra=task)
        return None
    except LedgerUnavailable as error:
        log.error("report not heard", extra={**task, "error": str(error)})  # noqa: TRY400 - the reason is all there is
        return None
    log.info("task reported", extra={**task, "outcome": report.outcome.value, "reason": report.reason})
    # Celery keeps the first success that it hears of a task for ever: only the last attempt's word may be it.
    return None if outcome is None else summary_of(report, outcome)

"""The only Celery task: claim, execute, report."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import Celery
from celery.exceptions import Ignore
from structlog.contextvars import bound_contextvars

from alts.core.stop import Stopped, StopReason
from alts.shared.broker import TASK_NAME
from alts.shared.errors import LedgerUnavailable, StaleAttempt
from alts.shared.models.ledger import Assignment
from alts.shared.models.report import Report
from alts.worker.internal_error import internal_error
from alts.worker.worker import Worker

log = logging.getLogger(__name__)


def register_task(app: Celery, worker: Callable[[], Worker]) -> None:
    """Register the task with the application. `worker` is called once per message, so it may open later."""

    @app.task(name=TASK_NAME, shared=False)  # type: ignore[untyped-decorator]
    def run(task_id: str) -> None:
        run_task(worker(), task_id)
        # Celery stores no result: it would lose it while S3 is away, and store a task that is repeated twice.
        # alts.worker.delivery stores the summary.
        raise Ignore


def run_task(worker: Worker, task_id: str) -> None:
    """Carry one task from claim to report, or decline it. A ledger that does not answer is logged, never raised."""
    with bound_contextvars(task_id=task_id):
        assignment = _claim(worker, task_id)
        if assignment is None:
            return
        with bound_contextvars(attempt=assignment.attempt):
            _carry_out(worker, assignment)


def _claim(worker: Worker, task_id: str) -> Assignment | None:
    """Decline or claim the task. Returns None if this worker does not carry it out."""
    if (trouble := worker.trouble) and not worker.stopping:
        worker.decline(task_id, trouble)
        return None
    try:
        assignment = worker.claim(task_id)
    except LedgerUnavailable as error:
        # The invitation is spent, but not the task: the ledger sends another one (resend_after).
        log.warning("claim not answered", extra={"error": str(error)})
        return None
    if assignment is None:
        log.info("claim refused")
    return assignment


def _carry_out(worker: Worker, assignment: Assignment) -> None:
    if worker.stopping:
        # Claim and hand back: the release makes the ledger invite another worker at once.
        worker.hand_back(assignment, StopReason.DRAINING)
        return
    report = _execute(worker, assignment)
    if report is not None:
        _report(worker, report)


def _execute(worker: Worker, assignment: Assignment) -> Report | None:
    """Return the attempt's report, or None if another worker carries the task on."""
    log.info("task claimed")
    try:
        return worker.execute(assignment)
    except Stopped as stopped:
        log.warning("task given up", extra={"reason": stopped.reason.value})
        worker.hand_back(assignment, stopped.reason)
        return None
    except Exception as error:
        # The only broad except around an attempt: a bug of ours must not lose the task.
        log.exception("task broke")
        message = f"{type(error).__name__}: {error}"
        return internal_error(assignment, worker=worker.name, message=message)


def _report(worker: Worker, report: Report) -> None:
    try:
        worker.report(report)
    except StaleAttempt:
        log.warning("report refused: the attempt is stale")
    except LedgerUnavailable as error:
        log.error("report not delivered", extra={"error": str(error)})  # noqa: TRY400 - no traceback needed
    else:
        log.info("task reported", extra={"outcome": report.outcome.value, "reason": report.reason})

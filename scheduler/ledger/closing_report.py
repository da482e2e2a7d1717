"""Reports for tasks that the ledger itself ends, without a worker. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import ValidationError

from alts.shared.models.report import Finding, Kind, Outcome, Report, StageResult
from scheduler.ledger.task_row import TaskRow

STAGE = "scheduling"
"""Name of the stage that records events outside of any machine."""


def worker_lost(row: TaskRow, *, now: float) -> Report:
    """Report that the last attempt's worker stopped answering and no attempt is left."""
    message = f"the worker {row.worker or 'of the task'} stopped answering during attempt {row.attempt}"
    return _closing(row, Outcome.ERRORED, f"{message}; no attempt is left", Kind.INSTANCE_LOST, now=now)


def not_readable(row: TaskRow, *, now: float) -> Report:
    """Report that this version no longer accepts the stored request, e.g. after a distribution was dropped."""
    return _closing(
        row,
        Outcome.ERRORED,
        "this version of the service does not accept the stored request any more; submit the task again",
        Kind.INTERNAL,
        now=now,
    )


def cancelled(row: TaskRow, *, now: float) -> Report:
    """Report that the task was cancelled while no worker had it."""
    when = "before it started" if row.attempt == 0 else f"after attempt {row.attempt}"
    return _closing(row, Outcome.CANCELLED, f"cancelled on request {when}", None, now=now)


def _closing(row: TaskRow, outcome: Outcome, reason: str, kind: Kind | None, *, now: float) -> Report:
    findings = () if kind is None else (Finding(kind=kind, message=reason),)
    ending = StageResult(stage=STAGE, outcome=outcome, reason=reason, findings=findings)
    return Report(
        task_id=row.task_id,
        attempt=row.attempt,
        outcome=outcome,
        reason=reason,
        stages=(*row.progress, ending),
        platform=_platform(row),
        worker=row.worker or "",
        started_at=None if row.started_at is None else datetime.fromtimestamp(row.started_at, UTC),
        finished_at=datetime.fromtimestamp(now, UTC),
    )


def _platform(row: TaskRow) -> str:
    try:
        return str(row.spec.platform)
    except ValidationError:
        return ""

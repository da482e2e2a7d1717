"""The report of an attempt that a bug of ours ended."""

from __future__ import annotations

from datetime import UTC, datetime

from alts.shared.models.ledger import Assignment
from alts.shared.models.report import Finding, Kind, Outcome, Report, StageResult


def internal_error(assignment: Assignment, *, worker: str, message: str) -> Report:
    """Return an ERRORED report with one stage "internal". Only the first attempt's report is retryable."""
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
        platform=str(assignment.spec.platform),
        worker=worker,
        started_at=now,
        finished_at=now,
    )

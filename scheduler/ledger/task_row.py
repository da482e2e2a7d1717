"""What the ledger knows of a task, as it was at one moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import REPORT, Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec

STAGES: TypeAdapter[tuple[StageResult, ...]] = TypeAdapter(tuple[StageResult, ...])


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One task. JSON stays text, so that what an older version wrote can still be shown.

    Times are seconds since the epoch.
    """

    task_id: str
    spec_json: str
    queue: str
    submitted_by: str
    state: TaskState
    outcome: Outcome | None
    """What was learned; None until FINISHED."""
    reason: str
    """One plain line: of the outcome, or why the last attempt brought none."""
    attempt: int
    """The last attempt that was claimed; 0 before the first."""
    released: int
    """How many attempts were handed back undone."""
    worker: str | None
    """Who has, or had, the last attempt."""
    claim_digest: str | None
    """SHA-256 of the key that the last attempt was claimed with."""
    lease_expires_at: float | None
    cancel_requested: bool
    due_at: float
    """Not claimed before."""
    resend_at: float | None
    resend_interval: float
    """Seconds."""
    progress_json: str
    """A list of the last attempt's stages so far."""
    report_json: str | None
    """None until FINISHED."""
    created_at: float
    started_at: float | None
    """Of the first attempt."""
    finished_at: float | None
    updated_at: float
    declined: int
    """How often it was declined since it was claimed last."""
    avoided_worker: str | None
    """Who is not to have it until `avoided_until`, where another worker is ready."""
    avoided_until: float | None

    @classmethod
    def of(cls, row: Any) -> TaskRow:
        """From a row of the table."""
        return cls(
            task_id=row.id,
            spec_json=row.spec,
            queue=row.queue,
            submitted_by=row.submitted_by,
            state=TaskState(row.state),
            outcome=Outcome(row.outcome) if row.outcome else None,
            reason=row.reason,
            attempt=row.attempt,
            released=row.released,
            worker=row.worker,
            claim_digest=row.claim_digest,
            lease_expires_at=row.lease_expires_at,
            cancel_requested=row.cancel_requested,
            due_at=row.due_at,
            resend_at=row.resend_at,
            resend_interval=row.resend_interval,
            progress_json=row.progress,
            report_json=row.report,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            updated_at=row.updated_at,
            declined=row.declined,
            avoided_worker=row.avoided_worker,
            avoided_until=row.avoided_until,
        )

    @property
    def spec(self) -> TaskSpec:
        """Raises pydantic's ValidationError where this version does not take the request any more."""
        return TaskSpec.model_validate_json(self.spec_json)

    @property
    def progress(self) -> tuple[StageResult, ...]:
        """The stages so far; none where another version wrote them in a way that is not understood."""
        try:
            return STAGES.validate_json(self.progress_json)
        except ValidationError:
            return ()

    @property
    def report(self) -> Report | None:
        return REPORT.validate_json(self.report_json) if self.report_json else None

    @property
    def attempts_used(self) -> int:
        """Attempts that count against max_attempts."""
        return self.attempt - self.released

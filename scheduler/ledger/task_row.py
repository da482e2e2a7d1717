"""A task as the ledger had it at one moment. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from alts.shared.models.ledger import TaskState
from alts.shared.models.report import REPORT, Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec

STAGES: TypeAdapter[tuple[StageResult, ...]] = TypeAdapter(tuple[StageResult, ...])


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One task. JSON stays text, so that a task of an older version can still be shown.

    Times are seconds since the epoch. Field names are those of scheduler.ledger.rows.COLUMNS.
    """

    task_id: str
    spec_json: str
    queue: str
    submitted_by: str
    state: TaskState
    outcome: Outcome | None
    """None until FINISHED."""
    reason: str
    """One line: why the task has its outcome, or why the last attempt ended without one."""
    attempt: int
    """Number of the last claimed attempt; 0 before the first."""
    released: int
    """Number of attempts that were handed back unfinished."""
    worker: str | None
    """The worker of the last attempt."""
    claim_digest: str | None
    """SHA-256 of the last claim's key."""
    lease_expires_at: float | None
    cancel_requested: bool
    due_at: float
    """The task cannot be claimed before."""
    resend_at: float | None
    resend_interval: float
    """Seconds."""
    progress_json: str
    """A list of StageResult: the last attempt's stages so far."""
    report_json: str | None
    """None until FINISHED."""
    created_at: float
    started_at: float | None
    """Start of the first attempt."""
    finished_at: float | None
    updated_at: float
    declined: int
    """Number of times the task was declined since the last claim."""
    avoided_worker: str | None
    """While another worker is ready, this worker cannot claim the task before `avoided_until`."""
    avoided_until: float | None

    @property
    def spec(self) -> TaskSpec:
        """The request. Raises pydantic's ValidationError if this version no longer accepts it."""
        return TaskSpec.model_validate_json(self.spec_json)

    @property
    def progress(self) -> tuple[StageResult, ...]:
        """The stages so far; empty if another version wrote them in an unknown format."""
        try:
            return STAGES.validate_json(self.progress_json)
        except ValidationError:
            return ()

    @property
    def report(self) -> Report | None:
        """The final report; None until FINISHED. Raises pydantic's ValidationError if its format is unknown."""
        return REPORT.validate_json(self.report_json) if self.report_json else None

    @property
    def attempts_used(self) -> int:
        """Attempts that count against max_attempts."""
        return self.attempt - self.released

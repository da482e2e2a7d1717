"""Request and response models of the API, and their conversion from ledger rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alts.shared.bounds import AtMost
from alts.shared.models.ledger import TaskState
from alts.shared.models.report import Outcome, Report, StageResult
from alts.shared.models.task_spec import TaskSpec
from scheduler.ledger.event import Event
from scheduler.ledger.history import Entry
from scheduler.ledger.task_row import TaskRow
from scheduler.monitoring.health import PartHealth

CeleryState = Literal["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]

_ENDINGS: dict[Outcome | None, CeleryState] = {Outcome.PASSED: "SUCCESS", Outcome.CANCELLED: "REVOKED"}


def celery_state(row: TaskRow) -> CeleryState:
    """The task's state as a Celery state."""
    if row.state is TaskState.FINISHED:
        return _ENDINGS.get(row.outcome, "FAILURE")
    if row.state is TaskState.RUNNING:
        return "STARTED"
    return "RETRY" if row.attempt else "PENDING"


class ScheduledTask(BaseModel):
    """The task is on disk."""

    success: bool = True
    task_id: str = Field(examples=["7f8d9fbd-3a5d-4d2e-9a55-0b8a8b9d0f6a"])


class TaskResult(BaseModel):
    """The verdict; `result` and `outcome` are null until the task has ended."""

    task_id: str
    state: CeleryState
    outcome: Outcome | None
    submitted_by: str = Field(description="The caller's name, from the token")
    result: Report | None


class TaskDetails(BaseModel):
    """A task with its request and its stages so far. Times are ISO 8601, UTC."""

    task_id: str
    state: CeleryState
    phase: TaskState = Field(description="The task's state in the ledger")
    outcome: Outcome | None
    reason: str
    attempt: int = Field(description="Number of the latest attempt; 0 before the first")
    worker: str | None
    queue: str
    cancel_requested: bool
    submitted_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    progress: list[StageResult] = Field(description="The last attempt's stages so far")
    spec: TaskSpec


class Transition(BaseModel):
    """One entry of a task's history. The time is ISO 8601, UTC."""

    at: str
    event: Event
    phase: TaskState = Field(description="The task's state in the ledger after the transition")
    attempt: int
    worker: str | None
    outcome: Outcome | None = Field(description="Outcome of the reported attempt, or of the task")
    reason: str
    artifacts: str | None


class TaskHistory(BaseModel):
    """Every transition of a task, oldest first. Transitions before an upgrade from the first release are missing."""

    task_id: str
    history: list[Transition]


class CancelAnswer(BaseModel):
    """The task as it is after the request: REVOKED, or still STARTED until its worker has stopped."""

    task_id: str
    state: CeleryState
    cancel_requested: bool = True


class CancelRequest(BaseModel):
    """Ids of the tasks to cancel, at most 1000."""

    model_config = ConfigDict(extra="forbid")

    task_ids: Annotated[list[Annotated[str, Field(max_length=36)]], Field(min_length=1), AtMost(1000)]


class CancelledTask(BaseModel):
    """State of one task after the request: REVOKED, STARTED until its worker has stopped, or null with the problem."""

    task_id: str
    state: CeleryState | None
    cancel_requested: bool = True
    problem: str = ""


class CancelAnswers(BaseModel):
    """One entry per id, in request order."""

    tasks: list[CancelledTask]


class Part(BaseModel):
    """Health of one part of the service."""

    ok: bool
    detail: str = Field(default="", description="What is wrong; empty without a token")


class HealthAnswer(BaseModel):
    """`ok`: every part works; `degraded`: tasks are still accepted; `down`: they are not."""

    status: Literal["ok", "degraded", "down"]
    parts: dict[str, Part]


def health_answer(parts: Mapping[str, PartHealth], *, with_details: bool) -> dict[str, Any]:
    """Build a HealthAnswer. Reasons name folders, sockets and hosts, so requests without a token get none."""
    status = "ok" if all(part.ok for part in parts.values()) else "degraded"
    if not parts["ledger"].ok:
        status = "down"
    shown = {name: {"ok": part.ok, "detail": part.detail if with_details else ""} for name, part in parts.items()}
    return {"status": status, "parts": shown}


def task_result(row: TaskRow) -> dict[str, Any]:
    """Build a TaskResult. The report stays as its version wrote it."""
    return {
        "task_id": row.task_id,
        "state": celery_state(row),
        "outcome": row.outcome,
        "submitted_by": row.submitted_by,
        "result": json.loads(row.report_json) if row.report_json else None,
    }


def task_details(row: TaskRow) -> dict[str, Any]:
    """Build a TaskDetails. Stages and request stay as their version wrote them."""
    return {
        "task_id": row.task_id,
        "state": celery_state(row),
        "phase": row.state,
        "outcome": row.outcome,
        "reason": row.reason,
        "attempt": row.attempt,
        "worker": row.worker,
        "queue": row.queue,
        "cancel_requested": row.cancel_requested,
        "submitted_by": row.submitted_by,
        "created_at": _iso(row.created_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "updated_at": _iso(row.updated_at),
        "progress": json.loads(row.progress_json),
        "spec": json.loads(row.spec_json),
    }


def task_history(task_id: str, entries: Iterable[Entry]) -> TaskHistory:
    """Build a TaskHistory."""
    return TaskHistory(
        task_id=task_id,
        history=[
            Transition(
                at=_iso(entry.at) or "",
                event=entry.event,
                phase=entry.state,
                attempt=entry.attempt,
                worker=entry.worker,
                outcome=entry.outcome,
                reason=entry.reason,
                artifacts=entry.artifacts,
            )
            for entry in entries
        ],
    )


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

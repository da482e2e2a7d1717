"""What the API answers with: the models in its documentation, and a task in their words. Pure."""

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
from scheduler.ledger.history import Entry, Event
from scheduler.ledger.task_row import TaskRow
from scheduler.monitoring.health import PartHealth

CeleryState = Literal["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]

_ENDINGS: dict[Outcome | None, CeleryState] = {Outcome.PASSED: "SUCCESS", Outcome.CANCELLED: "REVOKED"}


def celery_state(row: TaskRow) -> CeleryState:
    """Where the task is, in Celery's words."""
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
    """The verdict, once there is one."""

    task_id: str
    state: CeleryState
    outcome: Outcome | None
    submitted_by: str = Field(description="Who asked for it, as their token said")
    result: Report | None


class TaskDetails(BaseModel):
    """Everything that is known of a task. Times are ISO 8601, UTC."""

    task_id: str
    state: CeleryState
    phase: TaskState = Field(description="Where the task is, in the ledger's own words")
    outcome: Outcome | None
    reason: str
    attempt: int = Field(description="The last attempt that was begun; 0 before the first")
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
    phase: TaskState = Field(description="What the task was from then on, in the ledger's own words")
    attempt: int
    worker: str | None
    outcome: Outcome | None = Field(description="Of the attempt that was reported, or of the task")
    reason: str
    artifacts: str | None


class TaskHistory(BaseModel):
    """Every transition of a task, the first one first; those before an upgrade from the first release are not known."""

    task_id: str
    history: list[Transition]


class CancelAnswer(BaseModel):
    """The task as it is after the request: REVOKED, or still STARTED until its worker has stopped."""

    task_id: str
    state: CeleryState
    cancel_requested: bool = True


class CancelRequest(BaseModel):
    """Which tasks are not wanted any more."""

    model_config = ConfigDict(extra="forbid")

    task_ids: Annotated[list[Annotated[str, Field(max_length=36)]], Field(min_length=1), AtMost(1000)]


class CancelledTask(BaseModel):
    """What has become of one: REVOKED, STARTED until its worker has stopped, or null with the reason why not."""

    task_id: str
    state: CeleryState | None
    cancel_requested: bool = True
    problem: str = ""


class CancelAnswers(BaseModel):
    """One for each id, in the order of the request."""

    tasks: list[CancelledTask]


class Part(BaseModel):
    """Whether a part can be reached."""

    ok: bool
    detail: str = Field(default="", description="Why it cannot be; empty for requests without a token")


class HealthAnswer(BaseModel):
    """`ok` when every part can be reached, `degraded` when tasks are still accepted, `down` when not."""

    status: Literal["ok", "degraded", "down"]
    parts: dict[str, Part]


def health_answer(parts: Mapping[str, PartHealth], *, with_details: bool) -> dict[str, Any]:
    """A HealthAnswer. Reasons name folders, sockets and hosts: strangers get none."""
    status = "ok" if all(part.ok for part in parts.values()) else "degraded"
    if not parts["ledger"].ok:
        status = "down"
    shown = {name: {"ok": part.ok, "detail": part.detail if with_details else ""} for name, part in parts.items()}
    return {"status": status, "parts": shown}


def task_result(row: TaskRow) -> dict[str, Any]:
    """A TaskResult; the report as it was written, whatever version wrote it."""
    return {
        "task_id": row.task_id,
        "state": celery_state(row),
        "outcome": row.outcome,
        "submitted_by": row.submitted_by,
        "result": json.loads(row.report_json) if row.report_json else None,
    }


def task_details(row: TaskRow) -> dict[str, Any]:
    """A TaskDetails; stages and request as they were written, whatever version wrote them."""
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
    """In the API's words."""
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

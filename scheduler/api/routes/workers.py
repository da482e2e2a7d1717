"""The worker API: alts.shared.models.ledger.Ledger over HTTP. Its client is alts.client.worker_api."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from alts.shared.bounds import AtMost
from alts.shared.models.ledger import Assignment
from alts.shared.models.report import MOST_STAGES, Outcome, Report, StageResult
from scheduler.api.auth import WorkerCaller
from scheduler.api.dependencies import AttemptNumber, PartsDep
from scheduler.api.errors import responses
from scheduler.api.strict_route import StrictRoute


class Claim(BaseModel):
    """The worker that claims the task, and the claim's own random key."""

    worker: str = Field(min_length=1, max_length=200)
    key: str = Field(default="", max_length=100)


class ClaimAnswer(BaseModel):
    """The claimed task; null when another worker has it or it has ended."""

    assignment: Assignment | None


class Heartbeat(BaseModel):
    """The stages so far; empty when nothing is new."""

    progress: Annotated[tuple[StageResult, ...], AtMost(MOST_STAGES)] = ()


class HeartbeatAnswer(BaseModel):
    """Whether the worker must stop the attempt."""

    cancel: bool


class ReportAnswer(BaseModel):
    """The task's outcome; null when another attempt follows."""

    outcome: Outcome | None


class Release(BaseModel):
    """Why the task is handed back."""

    reason: str = Field(max_length=1000)


class Decline(BaseModel):
    """The worker that cannot take the task now, and the reason."""

    worker: str = Field(min_length=1, max_length=200)
    reason: str = Field(max_length=1000)


class Announcement(BaseModel):
    """A worker's presence: its queues, and whether it takes tasks."""

    worker: str = Field(min_length=1, max_length=200)
    ready: bool
    reason: str = Field(default="", max_length=1000)
    queues: Annotated[list[Annotated[str, Field(max_length=100)]], AtMost(100)] = []
    free: int | None = Field(default=None, ge=0, le=2**31 - 1, description="Number of tasks it could begin now")


class Attempts(BaseModel):
    """Task ids, each with an attempt."""

    attempts: Annotated[list[tuple[Annotated[str, Field(max_length=100)], int]], AtMost(1000)]


# Async routes with their own threads: sync routes would share a thread pool with callers' requests and wait for them.
router = APIRouter(prefix="/worker", tags=["worker"], route_class=StrictRoute)


@router.post("/tasks/{task_id}/claim", response_model=ClaimAnswer, responses=responses())
async def claim(task_id: str, body: Claim, _caller: WorkerCaller, parts: PartsDep) -> ClaimAnswer:
    """Claim the task for its next attempt."""
    return ClaimAnswer(
        assignment=await parts.worker_threads.run(parts.attempts.claim, task_id, worker=body.worker, key=body.key)
    )


@router.post("/tasks/{task_id}/decline", status_code=204, responses=responses())
async def decline(task_id: str, body: Decline, _caller: WorkerCaller, parts: PartsDep) -> None:
    """Decline the invitation. The task is offered again later, or to another worker."""
    await parts.worker_threads.run(parts.attempts.decline, task_id, worker=body.worker, reason=body.reason)


@router.post("/tasks/{task_id}/attempts/{attempt}/heartbeat", response_model=HeartbeatAnswer, responses=responses(409))
async def heartbeat(
    task_id: str, attempt: AttemptNumber, body: Heartbeat, _caller: WorkerCaller, parts: PartsDep
) -> HeartbeatAnswer:
    """Prolong the lease and store the stages so far."""
    return HeartbeatAnswer(
        cancel=await parts.worker_threads.run(parts.attempts.heartbeat, task_id, attempt, progress=body.progress)
    )


@router.post("/tasks/{task_id}/attempts/{attempt}/report", response_model=ReportAnswer, responses=responses(409))
async def report(
    task_id: str, attempt: AttemptNumber, body: Report, _caller: WorkerCaller, parts: PartsDep
) -> ReportAnswer:
    """Report the attempt's result. Sending the same report again is harmless."""
    return ReportAnswer(outcome=await parts.worker_threads.run(parts.attempts.report, task_id, attempt, body))


@router.post("/tasks/{task_id}/attempts/{attempt}/release", status_code=204, responses=responses(409))
async def release(task_id: str, attempt: AttemptNumber, body: Release, _caller: WorkerCaller, parts: PartsDep) -> None:
    """Hand the unfinished task back."""
    await parts.worker_threads.run(parts.attempts.release, task_id, attempt, reason=body.reason)


@router.post("/presence", status_code=204, responses=responses())
async def announce(body: Announcement, _caller: WorkerCaller, parts: PartsDep) -> None:
    """Announce the worker, and whether it is ready."""
    await parts.worker_threads.run(
        parts.attempts.announce, body.worker, ready=body.ready, reason=body.reason, queues=body.queues, free=body.free
    )


@router.post("/attempts/over", response_model=Attempts, responses=responses())
async def over(body: Attempts, _caller: WorkerCaller, parts: PartsDep) -> Attempts:
    """List those attempts that no longer own their task. Unknown attempts are left out."""
    return Attempts(attempts=sorted(await parts.worker_threads.run(parts.attempts.over, body.attempts)))

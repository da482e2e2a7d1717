"""The worker API, alts.shared.models.ledger.Ledger over HTTP; alts.client.worker_api is its client."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from alts.shared.bounds import AtMost
from alts.shared.models.ledger import Assignment
from alts.shared.models.report import MOST_STAGES, Outcome, Report, StageResult
from scheduler.api.auth import Worker
from scheduler.api.dependencies import AttemptNumber, PartsDep
from scheduler.api.errors import responses
from scheduler.api.strict_route import StrictRoute


class Claim(BaseModel):
    """Who wants the task."""

    worker: str = Field(min_length=1, max_length=200)
    key: str = Field(default="", max_length=100)


class ClaimAnswer(BaseModel):
    """The claimed task, or null where it is not to be had."""

    assignment: Assignment | None


class Heartbeat(BaseModel):
    """The stages so far; empty where there is nothing new."""

    progress: Annotated[tuple[StageResult, ...], AtMost(MOST_STAGES)] = ()


class HeartbeatAnswer(BaseModel):
    """Whether the worker is to stop."""

    cancel: bool


class ReportAnswer(BaseModel):
    """The task's outcome; null where another attempt follows."""

    outcome: Outcome | None


class Release(BaseModel):
    """Why the task is handed back."""

    reason: str = Field(max_length=1000)


class Decline(BaseModel):
    """Who cannot take the task now, and why."""

    worker: str = Field(min_length=1, max_length=200)
    reason: str = Field(max_length=1000)


class Announcement(BaseModel):
    """Who is there, and whether it takes tasks."""

    worker: str = Field(min_length=1, max_length=200)
    ready: bool
    reason: str = Field(default="", max_length=1000)
    queues: Annotated[list[Annotated[str, Field(max_length=100)]], AtMost(100)] = []
    free: int | None = Field(default=None, ge=0, le=2**31 - 1, description="How many more tasks it would begin now")


class Attempts(BaseModel):
    """Task ids, each with an attempt."""

    attempts: Annotated[list[tuple[Annotated[str, Field(max_length=100)], int]], AtMost(1000)]


# These routes are async, and take threads of their own: sync ones would wait where all that callers ask waits.
router = APIRouter(prefix="/worker", tags=["worker"], route_class=StrictRoute)


@router.post("/tasks/{task_id}/claim", response_model=ClaimAnswer, responses=responses())
async def claim(task_id: str, body: Claim, _caller: Worker, parts: PartsDep) -> ClaimAnswer:
    """Take the task for its next attempt."""
    return ClaimAnswer(
        assignment=await parts.worker_threads.run(parts.ledger.claim, task_id, worker=body.worker, key=body.key)
    )


@router.post("/tasks/{task_id}/decline", status_code=204, responses=responses())
async def decline(task_id: str, body: Decline, _caller: Worker, parts: PartsDep) -> None:
    """Leave the task for later, or for another worker."""
    await parts.worker_threads.run(parts.ledger.decline, task_id, worker=body.worker, reason=body.reason)


@router.post("/tasks/{task_id}/attempts/{attempt}/heartbeat", response_model=HeartbeatAnswer, responses=responses(409))
async def heartbeat(
    task_id: str, attempt: AttemptNumber, body: Heartbeat, _caller: Worker, parts: PartsDep
) -> HeartbeatAnswer:
    """Prolong the lease, show the stages so far."""
    return HeartbeatAnswer(
        cancel=await parts.worker_threads.run(parts.ledger.heartbeat, task_id, attempt, progress=body.progress)
    )


@router.post("/tasks/{task_id}/attempts/{attempt}/report", response_model=ReportAnswer, responses=responses(409))
async def report(task_id: str, attempt: AttemptNumber, body: Report, _caller: Worker, parts: PartsDep) -> ReportAnswer:
    """End the attempt; saying the same report again is harmless."""
    return ReportAnswer(outcome=await parts.worker_threads.run(parts.ledger.report, task_id, attempt, body))


@router.post("/tasks/{task_id}/attempts/{attempt}/release", status_code=204, responses=responses(409))
async def release(task_id: str, attempt: AttemptNumber, body: Release, _caller: Worker, parts: PartsDep) -> None:
    """Hand the task back unfinished."""
    await parts.worker_threads.run(parts.ledger.release, task_id, attempt, reason=body.reason)


@router.post("/presence", status_code=204, responses=responses())
async def announce(body: Announcement, _caller: Worker, parts: PartsDep) -> None:
    """Be there, ready or not."""
    await parts.worker_threads.run(
        parts.ledger.announce, body.worker, ready=body.ready, reason=body.reason, queues=body.queues, free=body.free
    )


@router.post("/attempts/over", response_model=Attempts, responses=responses())
async def over(body: Attempts, _caller: Worker, parts: PartsDep) -> Attempts:
    """Those of the attempts that own their task no more; one that is not known is not among them."""
    return Attempts(attempts=sorted(await parts.worker_threads.run(parts.ledger.over, body.attempts)))

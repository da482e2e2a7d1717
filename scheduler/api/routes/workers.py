"""The worker API, alts.shared.models.ledger.Ledger over HTTP; alts.client.worker_api is its client."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from alts.shared.bounds import AtMost
from alts.shared.models.ledger import Assignment, Ledger
from alts.shared.models.report import MOST_STAGES, Outcome, Report, StageResult
from scheduler.api.auth import Worker
from scheduler.api.errors import responses
from scheduler.api.strict_route import StrictRoute
from scheduler.api.threads import Threads

Attempt = Annotated[int, Path(ge=1, le=2**31 - 1)]


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


async def _ledger(request: Request) -> Ledger:
    ledger: Ledger = request.app.state.services.ledger
    return ledger


async def _threads(request: Request) -> Threads:
    threads: Threads = request.app.state.worker_threads
    return threads


Book = Annotated[Ledger, Depends(_ledger)]
# These routes are async, and take threads of their own: sync ones would wait where all that callers ask waits.
Own = Annotated[Threads, Depends(_threads)]

router = APIRouter(prefix="/worker", tags=["worker"], route_class=StrictRoute)


@router.post("/tasks/{task_id}/claim", response_model=ClaimAnswer, responses=responses())
async def claim(task_id: str, body: Claim, _caller: Worker, ledger: Book, threads: Own) -> ClaimAnswer:
    """Take the task for its next attempt."""
    return ClaimAnswer(assignment=await threads.run(ledger.claim, task_id, worker=body.worker, key=body.key))


@router.post("/tasks/{task_id}/decline", status_code=204, responses=responses())
async def decline(task_id: str, body: Decline, _caller: Worker, ledger: Book, threads: Own) -> None:
    """Leave the task for later, or for another worker."""
    await threads.run(ledger.decline, task_id, worker=body.worker, reason=body.reason)


@router.post("/tasks/{task_id}/attempts/{attempt}/heartbeat", response_model=HeartbeatAnswer, responses=responses(409))
async def heartbeat(
    task_id: str, attempt: Attempt, body: Heartbeat, _caller: Worker, ledger: Book, threads: Own
) -> HeartbeatAnswer:
    """Prolong the lease, show the stages so far."""
    return HeartbeatAnswer(cancel=await threads.run(ledger.heartbeat, task_id, attempt, progress=body.progress))


@router.post("/tasks/{task_id}/attempts/{attempt}/report", response_model=ReportAnswer, responses=responses(409))
async def report(
    task_id: str, attempt: Attempt, body: Report, _caller: Worker, ledger: Book, threads: Own
) -> ReportAnswer:
    """End the attempt; saying the same report again is harmless."""
    return ReportAnswer(outcome=await threads.run(ledger.report, task_id, attempt, body))


@router.post("/tasks/{task_id}/attempts/{attempt}/release", status_code=204, responses=responses(409))
async def release(task_id: str, attempt: Attempt, body: Release, _caller: Worker, ledger: Book, threads: Own) -> None:
    """Hand the task back unfinished."""
    await threads.run(ledger.release, task_id, attempt, reason=body.reason)


@router.post("/presence", status_code=204, responses=responses())
async def announce(body: Announcement, _caller: Worker, ledger: Book, threads: Own) -> None:
    """Be there, ready or not."""
    await threads.run(
        ledger.announce, body.worker, ready=body.ready, reason=body.reason, queues=body.queues, free=body.free
    )


@router.post("/attempts/over", response_model=Attempts, responses=responses())
async def over(body: Attempts, _caller: Worker, ledger: Book, threads: Own) -> Attempts:
    """Those of the attempts that own their task no more; one that is not known is not among them."""
    return Attempts(attempts=sorted(await threads.run(ledger.over, body.attempts)))

"""Routes for tasks: schedule, look up, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse

from alts.shared.auth.tokens import Caller
from alts.shared.errors import RequestError
from alts.shared.models.ledger import TaskState
from alts.shared.models.task_spec import TaskSpec
from scheduler.api.auth import Reader, Writer, check_may_cancel
from scheduler.api.dependencies import PartsDep
from scheduler.api.errors import responses
from scheduler.api.models import (
    CancelAnswer,
    CancelAnswers,
    CancelledTask,
    CancelRequest,
    ScheduledTask,
    TaskDetails,
    TaskHistory,
    TaskResult,
    celery_state,
    task_details,
    task_history,
    task_result,
)
from scheduler.api.strict_route import StrictRoute
from scheduler.ledger.tasks import Tasks

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=StrictRoute)


@router.post("/schedule", status_code=201, response_model=ScheduledTask, responses=responses(409))
async def schedule(
    spec: TaskSpec, caller: Writer, parts: PartsDep, idempotency_key: IdempotencyKey = None
) -> ScheduledTask:
    """Schedule the test of a package. The response comes when the task is on disk.

    With an `Idempotency-Key`, a random text of your own, you can send the request again if its response was lost. The
    same request returns the same task (201 again); a different request with that key returns 409.
    """
    task_id = await parts.intake.accept(spec, caller, key=idempotency_key)
    return ScheduledTask(task_id=task_id)


@router.get("/{task_id}/result", response_model=TaskResult, responses=responses(404))
def result(task_id: str, _caller: Reader, parts: PartsDep) -> JSONResponse:
    """Get the verdict. `result` is null until the task has ended."""
    return JSONResponse(task_result(parts.tasks.get(task_id)))


@router.get("/{task_id}/history", response_model=TaskHistory, responses=responses(404))
def history(task_id: str, _caller: Reader, parts: PartsDep) -> TaskHistory:
    """List every transition of a task, with its time, attempt, worker and reason."""
    return task_history(task_id, parts.tasks.history(task_id))


@router.get("/{task_id}", response_model=TaskDetails, responses=responses(404))
def details(task_id: str, _caller: Reader, parts: PartsDep) -> JSONResponse:
    """Get a task with its request, its state and the stages that have ended so far."""
    return JSONResponse(task_details(parts.tasks.get(task_id)))


@router.post(
    "/{task_id}/cancel",
    response_model=CancelAnswer,
    responses={**responses(404, 409), 202: {"model": CancelAnswer, "description": "The worker is asked to stop"}},
)
def cancel(task_id: str, caller: Writer, parts: PartsDep) -> JSONResponse:
    """Cancel a task. A waiting task ends at once (200); the worker of a running task is asked to stop (202).

    Cancelling a cancelled task again is harmless. A task that has ended otherwise returns 409. Callers cancel their
    own tasks; admins cancel any task.
    """
    check_may_cancel(caller, parts.tasks.get(task_id).submitted_by)
    row = parts.tasks.request_cancel(task_id)
    answer = CancelAnswer(task_id=task_id, state=celery_state(row))
    return JSONResponse(answer.model_dump(), 200 if row.state is TaskState.FINISHED else 202)


@router.post("/cancel", response_model=CancelAnswers, responses=responses())
def cancel_many(wanted: CancelRequest, caller: Writer, parts: PartsDep) -> CancelAnswers:
    """Cancel several tasks. The response has one entry per id, in request order.

    The rate limit counts one request per id. A list over the limit is still carried out; the next request then waits.
    """
    # The gate has counted one request, before the body was read.
    if not caller.is_admin:
        parts.rate_limit.charge(caller.email, len(wanted.task_ids) - 1)
    return CancelAnswers(tasks=[_cancelled(task_id, caller, parts.tasks) for task_id in wanted.task_ids])


def _cancelled(task_id: str, caller: Caller, tasks: Tasks) -> CancelledTask:
    try:
        check_may_cancel(caller, tasks.get(task_id).submitted_by)
        return CancelledTask(task_id=task_id, state=celery_state(tasks.request_cancel(task_id)))
    except RequestError as error:
        return CancelledTask(task_id=task_id, state=None, cancel_requested=False, problem=str(error))

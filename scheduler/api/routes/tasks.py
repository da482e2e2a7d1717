"""Routes about tasks: schedule, look, cancel."""

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
from scheduler.ledger.ledger import SqlLedger

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=StrictRoute)


@router.post("/schedule", status_code=201, response_model=ScheduledTask, responses=responses(409))
def schedule(spec: TaskSpec, caller: Writer, parts: PartsDep, idempotency_key: IdempotencyKey = None) -> ScheduledTask:
    """Ask for a package to be tested. The answer comes when the task is on disk.

    With an `Idempotency-Key`, a random text of your own, the request can be sent again when its answer got lost: the
    same request gets the same task (201 as before), another one 409.
    """
    task_id = parts.intake.accept(spec, caller, key=idempotency_key)
    return ScheduledTask(task_id=task_id)


@router.get("/{task_id}/result", response_model=TaskResult, responses=responses(404))
def result(task_id: str, _caller: Reader, parts: PartsDep) -> JSONResponse:
    """The verdict: `result` is null until the task has ended."""
    return JSONResponse(task_result(parts.ledger.get(task_id)))


@router.get("/{task_id}/history", response_model=TaskHistory, responses=responses(404))
def history(task_id: str, _caller: Reader, parts: PartsDep) -> TaskHistory:
    """Every transition of a task: when, which attempt, on which worker, why."""
    return task_history(task_id, parts.ledger.history(task_id))


@router.get("/{task_id}", response_model=TaskDetails, responses=responses(404))
def details(task_id: str, _caller: Reader, parts: PartsDep) -> JSONResponse:
    """Everything that is known of a task, with the stages so far."""
    return JSONResponse(task_details(parts.ledger.get(task_id)))


@router.post(
    "/{task_id}/cancel",
    response_model=CancelAnswer,
    responses={**responses(404, 409), 202: {"model": CancelAnswer, "description": "The worker is asked to stop"}},
)
def cancel(task_id: str, caller: Writer, parts: PartsDep) -> JSONResponse:
    """End a waiting task at once (200), or ask the worker of a running one to stop (202).

    Saying it again is harmless, also when the task has been cancelled; 409 where it has ended otherwise.

    Only for who asked for it, and for admins.
    """
    check_may_cancel(caller, parts.ledger.get(task_id).submitted_by)
    row = parts.ledger.request_cancel(task_id)
    answer = CancelAnswer(task_id=task_id, state=celery_state(row))
    return JSONResponse(answer.model_dump(), 200 if row.state is TaskState.FINISHED else 202)


@router.post("/cancel", response_model=CancelAnswers, responses=responses())
def cancel_many(wanted: CancelRequest, caller: Writer, parts: PartsDep) -> CancelAnswers:
    """Cancel each of the tasks, as far as it can be: the answer says of each what has become of it, in their order.

    It counts as one request for each id. A list is never refused for its length; what is over the limit has to be
    waited for before the next request.
    """
    # The gate has counted one, when it did not know how many there are.
    if not caller.is_admin:
        parts.rate_limit.charge(caller.email, len(wanted.task_ids) - 1)
    return CancelAnswers(tasks=[_cancelled(task_id, caller, parts.ledger) for task_id in wanted.task_ids])


def _cancelled(task_id: str, caller: Caller, ledger: SqlLedger) -> CancelledTask:
    try:
        check_may_cancel(caller, ledger.get(task_id).submitted_by)
        return CancelledTask(task_id=task_id, state=celery_state(ledger.request_cancel(task_id)))
    except RequestError as error:
        return CancelledTask(task_id=task_id, state=None, cancel_requested=False, problem=str(error))

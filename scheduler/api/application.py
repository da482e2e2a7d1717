"""The REST API: routes for callers, and the application that carries them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from alts.shared.auth.keys import TokenKeys
from alts.shared.auth.tokens import Caller
from alts.shared.bounds import MOST_VALUES
from alts.shared.errors import RequestError, StorageUnavailable, UnknownArtifact
from alts.shared.models.ledger import TaskState
from alts.shared.models.task_spec import TaskSpec
from alts.shared.storage.base import artifact_key
from scheduler.admission.intake import Intake
from scheduler.admission.quota import Quota
from scheduler.admission.rate_limit import RateLimit
from scheduler.api import errors as problems
from scheduler.api.auth import Reader, TokenReader, Writer, check_may_cancel
from scheduler.api.body_reader import CALLER_VALUES, BodyReader
from scheduler.api.errors import responses
from scheduler.api.fair_process import be_fair
from scheduler.api.middleware.body_limit import PATIENCE, BodyLimit
from scheduler.api.middleware.gate import Gate
from scheduler.api.models import (
    CancelAnswer,
    CancelAnswers,
    CancelledTask,
    CancelRequest,
    HealthAnswer,
    ScheduledTask,
    TaskDetails,
    TaskHistory,
    TaskResult,
    celery_state,
    health_answer,
    task_details,
    task_history,
    task_result,
)
from scheduler.api.routes import workers as worker_api
from scheduler.api.strict_route import StrictRoute
from scheduler.api.threads import (
    ARTIFACT_PATIENCE,
    ARTIFACT_THREADS,
    WORKER_THREADS,
    AllBusyError,
    Threads,
    limit_sync_routes,
)
from scheduler.composition import Services
from scheduler.ledger.ledger import SqlLedger

DESCRIPTION = """Does a package install, work and go away cleanly on a distribution?
Schedule a task, then ask for its result until `state` is SUCCESS, FAILURE or REVOKED.

Every request but `/health` needs a bearer token: press **Authorize** and paste one."""

_ARTIFACT_NAME = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")

Attempt = Annotated[int, Path(ge=1, le=2**31 - 1)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]

tasks = APIRouter(prefix="/tasks", tags=["tasks"], route_class=StrictRoute)
service = APIRouter(tags=["service"])


def create_app(services: Services, *, artifact_patience: float = ARTIFACT_PATIENCE) -> FastAPI:
    """The application; entering its lifespan starts the services, leaving it closes them.

    `artifact_patience`: seconds that a caller waits for their turn to get an artifact.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        be_fair()
        limit_sync_routes()
        await run_in_threadpool(services.start)
        try:
            yield
        finally:
            await run_in_threadpool(services.close)

    # FastAPI's own /docs loads its scripts from outside, and stays blank on a closed network.
    app = FastAPIOffline(title="alts", version="1", description=DESCRIPTION, lifespan=lifespan)
    config = services.config
    app.state.services = services
    app.state.worker_threads = Threads(WORKER_THREADS)
    app.state.artifact_threads = Threads(ARTIFACT_THREADS, patience=artifact_patience)
    # One looks, and all who ask meanwhile get that answer.
    app.state.health_threads = Threads(1)
    app.state.rate_limit = RateLimit(config.caller_requests_per_minute)
    # Workers' bodies wait for no caller's.
    app.state.caller_bodies = BodyReader(most_values=CALLER_VALUES, patience=PATIENCE)
    app.state.worker_bodies = BodyReader(most_values=MOST_VALUES, patience=PATIENCE)
    app.state.intake = Intake(
        ledger=services.ledger,
        runners=config.runners,
        networks=config.repository_networks,
        quota=Quota(config.caller_unfinished_tasks, services.ledger.unfinished_of),
        room=services.room,
    )
    app.add_middleware(BodyLimit, rate_limit=app.state.rate_limit)
    # Added last, so it is met first.
    app.add_middleware(
        Gate,
        reader=TokenReader(TokenKeys(config), config.jwt_leeway, services.clock),
        rate_limit=app.state.rate_limit,
    )
    problems.install(app)
    app.include_router(tasks)
    app.include_router(worker_api.router)
    app.include_router(service)
    return app


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _intake(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


async def _rate_limit(request: Request) -> RateLimit:
    rate_limit: RateLimit = request.app.state.rate_limit
    return rate_limit


async def _artifact_threads(request: Request) -> Threads:
    threads: Threads = request.app.state.artifact_threads
    return threads


async def _health_threads(request: Request) -> Threads:
    threads: Threads = request.app.state.health_threads
    return threads


Served = Annotated[Services, Depends(_services)]
Taking = Annotated[Intake, Depends(_intake)]
Counting = Annotated[RateLimit, Depends(_rate_limit)]
ArtifactThreads = Annotated[Threads, Depends(_artifact_threads)]
HealthThreads = Annotated[Threads, Depends(_health_threads)]


@tasks.post("/schedule", status_code=201, response_model=ScheduledTask, responses=responses(409))
def schedule(spec: TaskSpec, caller: Writer, intake: Taking, idempotency_key: IdempotencyKey = None) -> ScheduledTask:
    """Ask for a package to be tested. The answer comes when the task is on disk.

    With an `Idempotency-Key`, a random text of your own, the request can be sent again when its answer got lost: the
    same request gets the same task (201 as before), another one 409.
    """
    task_id = intake.accept(spec, caller, key=idempotency_key)
    return ScheduledTask(task_id=task_id)


@tasks.get("/{task_id}/result", response_model=TaskResult, responses=responses(404))
def result(task_id: str, _caller: Reader, services: Served) -> JSONResponse:
    """The verdict: `result` is null until the task has ended."""
    return JSONResponse(task_result(services.ledger.get(task_id)))


@tasks.get("/{task_id}/history", response_model=TaskHistory, responses=responses(404))
def history(task_id: str, _caller: Reader, services: Served) -> TaskHistory:
    """Every transition of a task: when, which attempt, on which worker, why."""
    return task_history(task_id, services.ledger.history(task_id))


@tasks.get("/{task_id}/artifacts/{attempt}/{name}", response_class=Response, responses=responses(404))
async def artifact(
    task_id: str, attempt: Attempt, name: str, _caller: Reader, services: Served, threads: ArtifactThreads
) -> Response:
    """A log or a report of an attempt, such as `install.log` or `report.json`."""
    await run_in_threadpool(services.ledger.get, task_id)
    key = artifact_key(services.config.artifacts_root_directory, task_id, attempt, name)
    try:
        # The name is a path's last part, and of plain letters: it cannot leave the attempt's folder.
        content = await threads.run(services.storage.get, key) if _ARTIFACT_NAME.fullmatch(name) else None
    except KeyError:
        content = None
    except AllBusyError as error:
        raise StorageUnavailable("the storage is slow, and others wait for it already") from error
    if content is None:
        raise UnknownArtifact(f"attempt {attempt} of the task has no artifact {name[:100]}")
    kind = "application/json" if name.endswith(".json") else "text/plain; charset=utf-8"
    # What a package prints must never run in a reader's browser.
    return Response(content, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})


@tasks.get("/{task_id}", response_model=TaskDetails, responses=responses(404))
def details(task_id: str, _caller: Reader, services: Served) -> JSONResponse:
    """Everything that is known of a task, with the stages so far."""
    return JSONResponse(task_details(services.ledger.get(task_id)))


@tasks.post(
    "/{task_id}/cancel",
    response_model=CancelAnswer,
    responses={**responses(404, 409), 202: {"model": CancelAnswer, "description": "The worker is asked to stop"}},
)
def cancel(task_id: str, caller: Writer, services: Served) -> JSONResponse:
    """End a waiting task at once (200), or ask the worker of a running one to stop (202).

    Saying it again is harmless, also when the task has been cancelled; 409 where it has ended otherwise.

    Only for who asked for it, and for admins.
    """
    check_may_cancel(caller, services.ledger.get(task_id).submitted_by)
    row = services.ledger.request_cancel(task_id)
    answer = CancelAnswer(task_id=task_id, state=celery_state(row))
    return JSONResponse(answer.model_dump(), 200 if row.state is TaskState.FINISHED else 202)


@tasks.post("/cancel", response_model=CancelAnswers, responses=responses())
def cancel_many(wanted: CancelRequest, caller: Writer, services: Served, rate_limit: Counting) -> CancelAnswers:
    """Cancel each of the tasks, as far as it can be: the answer says of each what has become of it, in their order.

    It counts as one request for each id. A list is never refused for its length; what is over the limit has to be
    waited for before the next request.
    """
    # The gate has counted one, when it did not know how many there are.
    if not caller.is_admin:
        rate_limit.charge(caller.email, len(wanted.task_ids) - 1)
    return CancelAnswers(tasks=[_cancelled(task_id, caller, services.ledger) for task_id in wanted.task_ids])


def _cancelled(task_id: str, caller: Caller, ledger: SqlLedger) -> CancelledTask:
    try:
        check_may_cancel(caller, ledger.get(task_id).submitted_by)
        return CancelledTask(task_id=task_id, state=celery_state(ledger.request_cancel(task_id)))
    except RequestError as error:
        return CancelledTask(task_id=task_id, state=None, cancel_requested=False, problem=str(error))


@service.get(
    "/health", response_model=HealthAnswer, responses={503: {"model": HealthAnswer, "description": "No ledger"}}
)
async def health(request: Request, services: Served, threads: HealthThreads) -> JSONResponse:
    """Which parts can be reached. Needs no token; with a good one of any scope, `detail` says why a part cannot be."""
    parts = await threads.run(services.health.ask)
    caller: Caller | None = request.state.caller
    content = health_answer(parts, with_details=caller is not None and bool(caller.scopes))
    return JSONResponse(content, 503 if content["status"] == "down" else 200)

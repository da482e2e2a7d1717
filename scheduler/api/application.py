"""The FastAPI application: routes, middleware, error handlers and shared parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi_offline import FastAPIOffline

from alts.shared.auth.keys import TokenKeys
from alts.shared.bounds import MOST_VALUES
from scheduler.admission.intake import Intake
from scheduler.admission.quota import Quota
from scheduler.admission.rate_limit import RateLimit
from scheduler.api import errors
from scheduler.api.auth import TokenReader
from scheduler.api.body_reader import CALLER_VALUES, BodyReader
from scheduler.api.dependencies import Parts, Services
from scheduler.api.fair_process import be_fair
from scheduler.api.middleware.body_limit import PATIENCE, BodyLimit
from scheduler.api.middleware.gate import Gate
from scheduler.api.routers import ROUTERS
from scheduler.api.threads import ARTIFACT_PATIENCE, ARTIFACT_THREADS, WORKER_THREADS, Threads, limit_sync_routes

DESCRIPTION = """Tests whether a package installs, works and is removed cleanly on a distribution.
Schedule a task, then poll its result until `state` is SUCCESS, FAILURE or REVOKED.

Every request except `/health` needs a bearer token: press **Authorize** and paste one."""


def create_app(services: Services, *, artifact_patience: float = ARTIFACT_PATIENCE) -> FastAPI:
    """Build the application. Entering its lifespan starts the services; leaving it closes them.

    `artifact_patience`: seconds that a download of an artifact waits for a free thread.
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

    # FastAPI's own /docs loads its scripts from the internet, and stays blank on a closed network.
    app = FastAPIOffline(title="alts", version="1", description=DESCRIPTION, lifespan=lifespan)
    config = services.config
    rate_limit = RateLimit(config.caller_requests_per_minute)
    app.state.parts = Parts(
        services=services,
        intake=Intake(
            services.ledger.tasks,
            runners=config.runners,
            networks=config.repository_networks,
            quota=Quota(config.caller_unfinished_tasks, services.ledger.tasks.unfinished_of),
            room=services.room,
        ),
        rate_limit=rate_limit,
        caller_bodies=BodyReader(most_values=CALLER_VALUES, patience=PATIENCE),
        worker_bodies=BodyReader(most_values=MOST_VALUES, patience=PATIENCE),
        worker_threads=Threads(WORKER_THREADS),
        artifact_threads=Threads(ARTIFACT_THREADS, patience=artifact_patience),
        # One thread runs the checks; concurrent requests share its answer.
        health_threads=Threads(1),
    )
    app.add_middleware(BodyLimit, rate_limit=rate_limit)
    # Added last, so it runs first.
    app.add_middleware(
        Gate, reader=TokenReader(TokenKeys(config), config.jwt_leeway, services.clock), rate_limit=rate_limit
    )
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app

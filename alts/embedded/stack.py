"""The whole service in one process: scheduler, in-memory broker, worker and HTTP server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import uvicorn
from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.worker import WorkController
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.config import Config
from alts.shared.errors import AlreadyRunning, InfrastructureError
from alts.shared.models.consent import Consent
from alts.shared.models.routing import queues_of
from alts.worker.celery_task import register_task
from alts.worker.composition import open_worker
from alts.worker.consumer import Consuming
from alts.worker.maintenance import Upkeep
from alts.worker.worker import Worker
from scheduler.api.application import create_app
from scheduler.composition import build_services

# Tasks at once. Each holds a machine; on two cores, more of them only wait for each other.
CONCURRENCY = 4
START_TIMEOUT = 30.0  # seconds for one part to start, and to end


class EmbeddedStack:
    """Runs the service during a `with` block.

    Entering raises AlreadyRunning, ConfigurationError or InfrastructureError if a part cannot start. Leaving drains
    the worker first: running tasks get `drain_timeout` seconds, unless hurry() is called.
    """

    def __init__(
        self,
        config: Config,
        *,
        host: str,
        port: int,
        consent: Consent = Consent(),  # noqa: B008
        runners: Mapping[str, MakeRunner] = RUNNERS,
    ) -> None:
        """`host` and `port`: address of the API. `consent`: which loss of the ledger the operator accepts.

        `runners`: factories for the runners that the configuration names.
        """
        self._config = config
        self._consent = consent
        self._runners = runners
        self._host = host
        self._port = port
        self._stack = ExitStack()
        self._hurried = False

    @property
    def url(self) -> str:
        """The API's base URL, e.g. "http://127.0.0.1:8000"."""
        return f"http://{self._host}:{self._port}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            services = build_services(self._config, self._consent)
            # The application's lifespan starts the services, and closes them after the worker has handed back its
            # tasks. This callback is for a start that fails before.
            stack.callback(services.close)
            listener = stack.enter_context(_listening(self._host, self._port))
            stack.enter_context(_serving(create_app(services), listener))
            consuming = Consuming(queues_of(self._config.runners, self._config.worker_architectures))
            worker, upkeep = stack.enter_context(
                open_worker(self._config, services.ledger.attempts, consuming, runners=self._runners)
            )
            register_task(services.celery, lambda: worker)
            stack.enter_context(upkeep)
            drained = partial(self._drain, worker, upkeep)
            stack.enter_context(_consuming(services.celery, consuming, drained))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def hurry(self) -> None:
        """Hand running tasks back at once instead of waiting for them. Safe in a signal handler."""
        self._hurried = True

    def _drain(self, worker: Worker, upkeep: Upkeep) -> None:
        """Stop claiming, wait up to `drain_timeout` for running tasks, then hand the rest back."""
        worker.stop_claiming()
        upkeep.look_now()
        end = time.monotonic() + self._config.drain_timeout
        # Polled, because a signal handler must not take the lock of an Event.
        while worker.running and not self._hurried and time.monotonic() < end:
            time.sleep(0.05)
        worker.drain()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except OSError as error:
            raise AlreadyRunning(
                f"cannot listen on {host}:{port}: {error.strerror}", resolution="choose another port with PORT="
            ) from error
        yield listener


@contextmanager
def _consuming(celery: Celery, consuming: Consuming, drain: Callable[[], None]) -> Iterator[None]:
    """Run a Celery worker in a thread. At the end `drain` is called first; it returns when no task needs to run on."""
    # Like celery.apps.worker.Worker, without its banner, signal handlers and logging.
    setup_worker_optimizations(celery)
    controller = WorkController(app=celery, pool_cls="threads", concurrency=CONCURRENCY, without_mingle=True)
    thread = _Thread(controller.start, name="celery")
    thread.start()
    try:
        _wait_until(lambda: controller.consumer is not None, thread, "the Celery worker")
        consuming.attach(controller.consumer)
        yield
    finally:
        drain()
        controller.stop()
        thread.join(START_TIMEOUT)


@contextmanager
def _serving(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Run uvicorn in a thread. It answers requests when the `with` block begins."""
    lifespan = _Lifespan(app)
    # uvicorn prefers httptools if installed, which does not limit the size of headers; h11 takes 16 KiB.
    server = uvicorn.Server(uvicorn.Config(lifespan, http="h11", log_config=None, access_log=False))
    thread = _Thread(partial(server.run, sockets=[listener]), name="http")
    thread.start()
    try:
        _wait_until(lambda: server.started, thread, "the HTTP server", cause=lambda: lifespan.error)
        yield
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT)


class _Lifespan:
    """The application, with the error that its start raised: uvicorn only logs it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            if scope["type"] == "lifespan":
                self.error = error
            raise


class _Thread(threading.Thread):
    """A thread that keeps the exception that ended it."""

    def __init__(self, work: Callable[[], object], *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
            raise


def _wait_until(
    started: Callable[[], bool],
    thread: _Thread,
    what: str,
    *,
    cause: Callable[[], BaseException | None] = lambda: None,
) -> None:
    """Wait up to START_TIMEOUT. Raises `cause` or the thread's exception, InfrastructureError if there is neither."""
    deadline = time.monotonic() + START_TIMEOUT
    while not started():
        if not thread.is_alive() or time.monotonic() > deadline:
            if (error := cause() or thread.error) is not None:
                raise error
            raise InfrastructureError(f"{what} did not start; the log file says why")
        time.sleep(0.01)

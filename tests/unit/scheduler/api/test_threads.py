"""Callers wait for a part that hangs, and workers must be heard all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from alts.client.worker_api import HttpLedger
from alts.shared.auth.tokens import Scope as TokenScope
from alts.shared.storage.local import FolderStore
from scheduler.api.application import create_app
from scheduler.api.threads import ARTIFACT_THREADS, CALLER_THREADS, WORKER_THREADS
from scheduler.composition import Services
from scheduler.ledger.database import CONNECTIONS, Database
from scheduler.ledger.ledger import SqlLedger
from scheduler.ledger.retry_policy import LedgerRules
from scheduler.ledger.task_row import TaskRow
from scheduler.ledger.tasks import Tasks
from scheduler.monitoring.health import Health
from tests.support.builders import TASK_ID, a_spec
from tests.support.scheduler_parts import (
    QUEUE,
    HandClock,
    a_database,
    a_ledger,
    a_token,
    bearer,
    serving,
    some_services,
)

# More than anyio's 40 threads.
MANY = 80


class Hanging:
    """Blocks until it is released."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.lock = threading.Lock()
        self.entered = 0

    def __call__(self) -> None:
        with self.lock:
            self.entered += 1
        self.let_go.wait(120)


class HangingStore(FolderStore):
    """A store of artifacts whose reads hang."""

    def __init__(self, folder: Path, hanging: Hanging) -> None:
        super().__init__(folder)
        self._hanging = hanging

    def get(self, key: str) -> bytes:
        self._hanging()
        return b"a log"


class HangingTasks(Tasks):
    """The callers' side of a ledger, which hangs when a task is read."""

    def __init__(self, database: Database, hanging: Hanging) -> None:
        super().__init__(database, LedgerRules(), clock=HandClock(), outbox_filled=threading.Event())
        self._hanging = hanging

    def get(self, task_id: str) -> TaskRow:
        self._hanging()
        return super().get(task_id)


class Entrance:
    """The application, with a count of the received requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.came = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came += scope["type"] == "http"
        await self._app(scope, receive, send)


@contextmanager
def crowd(services: Services, hanging: Hanging, path: str, size: int, **options: Any) -> Iterator[Crowd]:
    """Let `size` callers ask for the path, and release the hanging part at the end."""
    app = Entrance(create_app(services, **options))
    limits = httpx.Limits(max_connections=None)
    with (
        serving(app) as url,
        httpx.Client(base_url=url, headers=bearer(), timeout=120, limits=limits) as client,
        ThreadPoolExecutor(size) as pool,
    ):
        try:
            answers = [pool.submit(client.get, path) for _ in range(size)]
            eventually(lambda: app.came == size and hanging.entered > 0)
            yield Crowd(url, answers)
        finally:
            hanging.let_go.set()


class Crowd:
    """Waiting callers, and a worker beside them."""

    def __init__(self, url: str, answers: list[Future[httpx.Response]]) -> None:
        self._url = url
        self._answers = answers

    def statuses(self) -> list[int]:
        """Wait for the last answer and return all statuses."""
        return sorted(answer.result().status_code for answer in self._answers)

    def answered(self) -> list[httpx.Response]:
        return [answer.result() for answer in self._answers if answer.done()]

    def assert_hears(self, task_id: str) -> None:
        """Send a worker's heartbeats for a while. One that takes ten seconds raises LedgerUnavailable."""
        worker = HttpLedger(self._url, token=lambda _now: a_token(TokenScope.WORKER), request_seconds=10)
        try:
            for _ in range(10):
                assert worker.heartbeat(task_id, 1) is False
                time.sleep(0.05)
        finally:
            worker.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def claimed(ledger: SqlLedger) -> str:
    task_id = ledger.tasks.add(a_spec(), queue=QUEUE, submitted_by="")
    ledger.attempts.claim(task_id, worker="worker-1")
    return task_id


@pytest.fixture
def hanging() -> Hanging:
    return Hanging()


@pytest.mark.slow
def test_callers_who_wait_for_s3_delay_no_heartbeat(tmp_path: Path, hanging: Hanging) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    task_id = claimed(ledger)
    services = replace(some_services(tmp_path, ledger), storage=HangingStore(tmp_path, hanging))
    path = f"/tasks/{task_id}/artifacts/1/install.log"

    with crowd(services, hanging, path, MANY, artifact_patience=120) as callers:
        callers.assert_hears(task_id)

        assert hanging.entered == ARTIFACT_THREADS
        assert callers.answered() == []

    assert callers.statuses() == [200] * MANY


def test_who_waits_for_s3_behind_others_for_long_is_told_to_come_again(tmp_path: Path, hanging: Hanging) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    services = replace(some_services(tmp_path, ledger), storage=HangingStore(tmp_path, hanging))
    path = f"/tasks/{claimed(ledger)}/artifacts/1/install.log"

    with crowd(services, hanging, path, ARTIFACT_THREADS + 2, artifact_patience=0.05) as callers:
        eventually(lambda: len(callers.answered()) == 2)

        for answer in callers.answered():
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "5"
            assert "storage" in answer.json()["detail"]

    assert callers.statuses() == [200] * ARTIFACT_THREADS + [503] * 2


@pytest.mark.slow
def test_however_many_ask_how_the_parts_are_no_heartbeat_is_delayed(tmp_path: Path, hanging: Hanging) -> None:
    ledger = a_ledger(tmp_path, HandClock())
    task_id = claimed(ledger)
    health = Health({"ledger": ledger.check, "broker": hanging}, seconds=120, kept=120)

    with crowd(some_services(tmp_path, ledger, health=health), hanging, "/health", MANY) as callers:
        callers.assert_hears(task_id)

        assert callers.answered() == []

    assert callers.statuses() == [200] * MANY
    assert hanging.entered == 1


@pytest.mark.slow
def test_callers_who_wait_for_the_ledger_leave_threads_for_workers(tmp_path: Path, hanging: Hanging) -> None:
    database = a_database(f"sqlite:///{tmp_path}/ledger.sqlite")
    ledger = SqlLedger(database, LedgerRules(), clock=HandClock())
    ledger.tasks = HangingTasks(database, hanging)
    task_id = claimed(ledger)

    with crowd(some_services(tmp_path, ledger), hanging, f"/tasks/{TASK_ID}", MANY) as callers:
        callers.assert_hears(task_id)

        assert hanging.entered == CALLER_THREADS

    assert callers.statuses() == [404] * MANY


def test_nobody_waits_for_a_connection_to_the_ledger() -> None:
    others = ("the look for /health", "the relay", "the reconciler")

    assert CALLER_THREADS + WORKER_THREADS + len(others) <= CONNECTIONS

"""Clocks of real processes jump by hours, or differ by hours. Every task still ends within seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.chaos.clock import WallClock
from tests.chaos.journal import FOLDER_VARIABLE
from tests.support.builders import SECRET
from tests.support.checkout import ROOT
from tests.support.embedded_process import Embedded, client_of
from tests.support.ports import answers, free_ports
from tests.support.postgresql import PrivatePostgreSQL
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.server_process import ServerProcess
from tests.support.stack import schedule, until, wait_for

pytestmark = pytest.mark.services

HOUR = 3600.0
PATIENCE = 180.0
"""Seconds. An idle host with RabbitMQ, S3 and five Python processes takes a few."""


@pytest.fixture(scope="module")
def service_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    service = Embedded(tmp_path_factory.mktemp("embedded"))
    service.start()
    try:
        yield service
    finally:
        service.kill()
        service.client.close()


@pytest.fixture
def embedded(service_of_all: Embedded) -> Embedded:
    """A service whose clock is right. A test may leave it wrong."""
    service_of_all.clock.set(0)
    return service_of_all


JUMPS = pytest.mark.parametrize("jump", [2 * HOUR, -3 * HOUR], ids=["2 h ahead", "3 h back"])


@JUMPS
def test_a_task_does_not_notice_that_the_clock_jumps_there_and_back(embedded: Embedded, jump: float) -> None:
    embedded.clock.set(jump)
    waiting = schedule(embedded.client, package_name="chaos-slow")
    retried = schedule(embedded.client, package_name="chaos-errors-once")
    embedded.clock.set(0)
    after = schedule(embedded.client, package_name="chaos-good")

    assert [embedded.ends(task_id) for task_id in (waiting, retried, after)] == ["passed"] * 3
    result = embedded.client.get(f"/tasks/{waiting}/result").json()["result"]
    assert result["attempt"] == 1


@JUMPS
def test_tasks_survive_a_jump_that_stays(embedded: Embedded, jump: float) -> None:
    before = schedule(embedded.client, package_name="chaos-slow")
    embedded.clock.set(jump)
    retried = schedule(embedded.client, package_name="chaos-errors-once")

    assert [embedded.ends(task_id) for task_id in (before, retried)] == ["passed", "passed"]


@pytest.mark.parametrize("back", [pytest.param(2 * HOUR, marks=pytest.mark.long), 3 * HOUR], ids=["2 h", "3 h"])
def test_what_was_accepted_while_the_clock_was_ahead_goes_on_when_the_service_is_started_with_the_right_time(
    tmp_path: Path, back: float
) -> None:
    service = Embedded(tmp_path)
    service.clock.set(back)
    service.start()
    try:
        # More tasks than the four slots. At the kill some run, some are queued, and some wait for their retry.
        packages = ["chaos-slow"] * 6 + ["chaos-errors-once"] * 4
        task_ids = [schedule(service.client, package_name=package) for package in packages]
        time.sleep(0.5)
        service.kill()
        service.clock.set(0)
        service.start()

        assert [service.ends(task_id) for task_id in task_ids] == ["passed"] * 10
        assert service.client.get("/health").json()["parts"]["tasks"]["ok"]
    finally:
        service.kill()
        service.client.close()


def test_an_idempotency_key_survives_a_start_with_a_clock_that_is_hours_ahead(tmp_path: Path) -> None:
    service = Embedded(tmp_path, idempotency_hours=1)
    headers = {"Idempotency-Key": "once"}
    body = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "chaos-good"}
    service.start()
    try:
        first = service.client.post("/tasks/schedule", json=body, headers=headers).json()["task_id"]
        service.kill()
        service.clock.set(5 * HOUR)
        service.start()
        # This request makes the service drop expired keys.
        service.client.post("/tasks/schedule", json=body, headers={"Idempotency-Key": "another"}).raise_for_status()

        again = service.client.post("/tasks/schedule", json=body, headers=headers).raise_for_status()

        assert again.json()["task_id"] == first
    finally:
        service.kill()
        service.client.close()


class Farm:
    """Two schedulers on one PostgreSQL and one worker for each. Every process has its own clock."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        self.ports = free_ports(2)
        self.clients = [client_of(port) for port in self.ports]

    def scheduler(self, number: int, *, ahead: float) -> ServerProcess:
        port = self.ports[number]
        arguments = ("uvicorn", "scheduler.app:app", "--host", "127.0.0.1", "--port", str(port), "--http", "h11")
        process = self._process(f"scheduler-{number}", arguments, ahead=ahead)
        process.start(ready=lambda: answers(port))
        return process

    def worker(self, number: int, *, ahead: float) -> ServerProcess:
        name = f"worker-{number}"
        changes = {
            "scheduler_url": f"http://127.0.0.1:{self.ports[number]}",
            "worker_name": name,
            "work_folder": str(self._folder / name),
        }
        arguments = ("celery", "-A", "tests.chaos.worker_app", "worker", "--pool=threads", "--concurrency=2")
        process = self._process(name, (*arguments, "--loglevel=INFO", "--without-mingle"), ahead=ahead, **changes)

        process.start(ready=lambda: "ready." in (self._folder / f"{name}.log").read_text())
        return process

    def _process(self, name: str, arguments: tuple[str, ...], *, ahead: float, **changes: Any) -> ServerProcess:
        clock = WallClock(self._folder / f"{name}.clock")
        clock.set(ahead)
        config = self._folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump({**self._settings, **changes}))
        env = {**os.environ, **clock.environment, "ALTS_CONFIG": str(config), FOLDER_VARIABLE: str(self._folder)}
        argv = [sys.executable, "-m", "tests.chaos.clock", *arguments]
        return ServerProcess(argv, env=env, folder=ROOT, log=self._folder / f"{name}.log", forked=True)


@contextmanager
def farm(
    folder: Path, postgresql: PrivatePostgreSQL, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, **changes: Any
) -> Iterator[Farm]:
    with postgresql.database() as url:
        yield Farm(
            folder,
            {
                "jwt_secret": SECRET,
                "database_url": url,
                "state_folder": str(folder / "state"),
                **rabbitmq.config,
                **s3.config,
                "s3_bucket": "clocks",
                "lease_seconds": 6,
                "heartbeat_seconds": 1,
                "reconcile_interval": 0.5,
                "retry_delay": 0.5,
                "resend_after": 5,
                "drain_timeout": 1,
                "min_free_disk_mb": 16,
                **changes,
            },
        )


def test_schedulers_and_workers_whose_clocks_differ_by_hours_work_together(
    tmp_path: Path, postgresql: PrivatePostgreSQL, rabbitmq: PrivateRabbitMQ, s3: PrivateS3
) -> None:
    with farm(tmp_path, postgresql, rabbitmq, s3) as found, ExitStack() as stack:
        for number, ahead in enumerate((2 * HOUR, -3 * HOUR)):
            stack.callback(found.scheduler(number, ahead=ahead).stop)
        # S3 refuses requests with a time off by more than 15 minutes, so the workers' clocks are right in this test.
        for number in range(2):
            stack.callback(found.worker(number, ahead=0).stop)

        packages = ["chaos-good", "chaos-slow", "chaos-errors-once", "chaos-bad"]
        asked = [(client, schedule(client, package_name=package)) for package in packages for client in found.clients]
        results = [wait_for(client, task_id, seconds=PATIENCE) for client, task_id in asked]

        assert [result["outcome"] for result in results] == [
            "failed" if package == "chaos-bad" else "passed" for package in packages for _ in found.clients
        ]
        # No scheduler has expired a lease that the other scheduler's worker renewed.
        attempts = {package: 2 if package == "chaos-errors-once" else 1 for package in packages}
        assert [result["result"]["attempt"] for result in results] == [
            attempts[package] for package in packages for _ in found.clients
        ]
        for client in found.clients:
            until(partial(workers_are_well, client), seconds=PATIENCE)


def workers_are_well(client: httpx.Client) -> bool:
    return bool(client.get("/health").json()["parts"]["workers"]["ok"])


@pytest.mark.parametrize(
    "jump", [2 * HOUR, pytest.param(-3 * HOUR, marks=pytest.mark.long)], ids=["2 h ahead", "3 h back"]
)
def test_a_worker_whose_clock_is_off_is_heard_and_its_artifacts_wait_for_the_right_time(
    tmp_path: Path, postgresql: PrivatePostgreSQL, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, jump: float
) -> None:
    with farm(tmp_path, postgresql, rabbitmq, s3) as found, ExitStack() as stack:
        stack.callback(found.scheduler(0, ahead=0).stop)
        worker = found.worker(0, ahead=jump)
        stack.callback(worker.stop)
        client = found.clients[0]

        task_id = schedule(client, package_name="chaos-good")

        assert wait_for(client, task_id, seconds=PATIENCE)["outcome"] == "passed"
        WallClock(tmp_path / "worker-0.clock").set(0)
        artifact = f"/tasks/{task_id}/artifacts/1/report.json"
        until(lambda: client.get(artifact).is_success, seconds=PATIENCE)

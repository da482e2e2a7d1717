"""A scheduler and workers as separate processes, on a private RabbitMQ and a private S3 server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import yaml
from pydantic import SecretStr

from alts.shared.auth.tokens import issue_token
from tests.support.builders import SECRET
from tests.support.checkout import ROOT
from tests.support.ports import answers, free_ports
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.server_process import ServerProcess

Value = TypeVar("Value")
FINISHED = ("SUCCESS", "FAILURE", "REVOKED")
# Short, for fast tests: a dead worker is noticed after three seconds.
LEASE_SECONDS = 3.0
# Long: an image with package lists is made once for all tests.
LISTS_MAX_AGE = 7200.0
PLAIN = "tests.support.plain_worker_app"


class ServiceStack:
    """A scheduler that runs between `__enter__` and `__exit__`, and workers that tests start."""

    def __init__(
        self, folder: Path, rabbitmq: PrivateRabbitMQ, s3: PrivateS3, *, forked: bool = False, **changes: Any
    ) -> None:
        """`forked`: see ServerProcess. `changes`: settings that differ from the tests' own."""
        self._forked = forked
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = folder / "config.yaml"
        self._stack = ExitStack()
        settings = {
            "jwt_secret": SECRET,
            "database_url": f"sqlite:///{folder}/ledger.sqlite",
            **rabbitmq.config,
            **s3.config,
            "s3_bucket": "service-stack",
            "scheduler_url": self.url,
            "lease_seconds": LEASE_SECONDS,
            "heartbeat_seconds": 1.0,
            "reconcile_interval": 0.2,
            "retry_delay": 0.1,
            "pool_size": 0,
            "repository_max_age": LISTS_MAX_AGE,
            "work_folder": str(folder / "work"),
            # Images belong to the host, so all tests share them.
            "cache_folder": str(ROOT / ".alts/cache"),
            **changes,
        }
        self._config.write_text(yaml.safe_dump(settings))
        self.scheduler = self._process(
            "scheduler",
            *("uvicorn", "scheduler.app:app", "--host", "127.0.0.1", "--port", str(self.port), "--http", "h11"),
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.scheduler.stop)
            self.scheduler.start(ready=lambda: answers(self.port))
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def worker(
        self, name: str, *, app: str = "alts.app", concurrency: int = 4, start_timeout: float = 60.0
    ) -> Iterator[ServerProcess]:
        """Start a worker process and wait until it is ready for its first task. Raises ServerDidNotStart.

        `app`: the module of the worker; PLAIN for one whose machines are plain. `concurrency`: tasks at once.
        """
        process = self._process(
            name, "celery", "-A", app, "worker", "--pool=threads", f"--concurrency={concurrency}", "--loglevel=DEBUG"
        )
        process.start(ready=lambda: "ready." in self.log_of(name), start_timeout=start_timeout)
        try:
            yield process
        finally:
            process.stop()

    def log_of(self, name: str) -> str:
        path = self._folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def client(self) -> httpx.Client:
        token = issue_token(SecretStr(SECRET), algorithm="HS256", email="test@example.com", lifetime=timedelta(hours=1))
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )

    def _process(self, name: str, *arguments: str) -> ServerProcess:
        return ServerProcess(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "ALTS_CONFIG": str(self._config)},
            folder=ROOT,
            log=self._folder / f"{name}.log",
            forked=self._forked,
        )


def schedule(client: httpx.Client, **fields: Any) -> str:
    """Submit a task for a package on Debian 12 and return its id."""
    body = {"dist_name": "debian", "dist_version": "12", "dist_arch": "x86_64", "package_name": "hello", **fields}
    answer = client.post("/tasks/schedule", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["task_id"])


def wait_for(client: httpx.Client, task_id: str, *, seconds: float = 240) -> dict[str, Any]:
    """Wait for the task's end and return its result."""

    def finished() -> dict[str, Any] | None:
        result: dict[str, Any] = client.get(f"/tasks/{task_id}/result").raise_for_status().json()
        return result if result["state"] in FINISHED else None

    # Each poll costs the service and the test some hundredths of a processor second.
    return until(finished, seconds=seconds, interval=0.25)


def until(condition: Callable[[], Value | None], *, seconds: float, interval: float = 0.1) -> Value:
    """Poll the condition and return its first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(interval)
    raise AssertionError(f"not so within {seconds:.0f} s")

"""The world of one run: a scheduler, two workers, and a breakable network between them and their servers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx
import yaml
from pydantic import SecretStr

from alts.shared.auth.tokens import issue_token
from alts.shared.config import Config
from alts.shared.config_file import parse_config
from tests.chaos.clock import WallClock
from tests.chaos.disk import SmallDisk
from tests.chaos.journal import FOLDER_VARIABLE, REAL_VARIABLE
from tests.chaos.network import Network
from tests.chaos.plan import WORKERS, Plan
from tests.chaos.private_engine import PrivateEngine
from tests.chaos.repository import package_repository
from tests.chaos.run_queue import RunQueue
from tests.chaos.service import Service
from tests.support.builders import SECRET
from tests.support.checkout import ROOT
from tests.support.ports import free_ports
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


LEASE_SECONDS = 1.6
MAX_ATTEMPTS = 6
DRAIN_TIMEOUT = 0.7
CONCURRENCY = 4


@dataclass(frozen=True)
class Servers:
    """Servers that several runs share, one after the other."""

    rabbitmq: PrivateRabbitMQ
    s3: PrivateS3
    engine: PrivateEngine | None = None
    """For runs with real machines only."""


class World:
    """Runs between `__enter__` and `__exit__`. Faults and mends act on its parts."""

    def __init__(self, plan: Plan, folder: Path, servers: Servers) -> None:
        (self._port,) = free_ports(1)
        self.plan = plan
        self.folder = folder
        self.servers = servers
        self.url = f"http://127.0.0.1:{self._port}"
        self.bucket = f"chaos-{plan.seed}-{self._port}"
        self.ledger = folder / "ledger.sqlite"
        self.network = Network()
        self.disk = SmallDisk(folder / "disk")
        self.services: dict[str, Service] = {}
        self.clocks = {name: WallClock(folder / f"{name}.clock") for name in ("scheduler", *WORKERS)}
        self.turns = {fault.target: threading.Lock() for fault in plan.faults}
        """A fault holds its target's lock until the mend, which may come later than planned."""
        self.repository = ""
        """URL of the packages for real machines; empty with stub machines."""
        self.config = parse_config(self._settings())
        """The configuration without the broken network."""
        self.queue = RunQueue(self.config)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self.network)
            undo.enter_context(self.disk)
            if self.servers.engine is not None:
                address = self.servers.engine.host_address
                self.repository = undo.enter_context(package_repository(self.folder / "debs", address=address))
            self.services["scheduler"] = self._scheduler()
            for name in WORKERS:
                self.services[name] = self._worker(name)
            undo.callback(self._end)
            for service in self.services.values():
                service.start()
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, *, seconds: float) -> httpx.Client:
        """Return a caller's client that waits `seconds` for an answer."""
        # The token is also good for a scheduler that was started with its clock set back or ahead.
        begun, lasting = datetime.now(UTC) - timedelta(hours=6), timedelta(hours=12)
        token = issue_token(
            SecretStr(SECRET), algorithm="HS256", email="chaos@example.com", lifetime=lasting, now=begun
        )
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=seconds, trust_env=False, verify=False)

    @cached_property
    def bucket_client(self) -> S3Client:
        """A client of the S3 server itself, past the broken network."""
        s3 = self.servers.s3
        return boto3.client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=s3.access_key_id,
            aws_secret_access_key=s3.secret_access_key,
        )

    def work_folder(self, worker: str) -> Path:
        return self.folder / "disk" / ("host" if self.plan.one_host else worker)

    def log_of(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def _end(self) -> None:
        for service in self.services.values():
            service.kill_all()
        self.queue.delete()

    def _settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "jwt_secret": SECRET,
            "database_url": f"sqlite:///{self.ledger}",
            **self.servers.rabbitmq.config,
            **self.servers.s3.config,
            "s3_bucket": self.bucket,
            "scheduler_url": self.url,
            "lease_seconds": LEASE_SECONDS,
            "heartbeat_seconds": LEASE_SECONDS / 4,
            "reconcile_interval": 0.2,
            "retry_delay": 0.1,
            "retry_delay_max": 0.2,
            "retry_elsewhere_seconds": 0.5,
            "resend_after": 1.5,
            "max_attempts": MAX_ATTEMPTS,
            "drain_timeout": DRAIN_TIMEOUT,
            "reap_interval": 1.0,
            "pool_size": 3,
            "pool_max_age": 3.0,
            "min_free_disk_mb": 16,
            "spool_limit_mb": 32,
            "cache_folder": str(ROOT / ".alts/cache"),
            **self._machines(),
            **changes,
        }

    def _machines(self) -> dict[str, Any]:
        engine = self.servers.engine
        if engine is None:
            return {}
        return {"docker_host": engine.docker_host, "image_pull": False, "instance_limits": {"memory_mb": 256}}

    def _scheduler(self) -> Service:
        config = self._write("scheduler", self._ports_for("scheduler"))
        address = ("--host", "127.0.0.1", "--port", str(self._port), "--http", "h11")
        return self._service("scheduler", "uvicorn", "scheduler.app:app", *address, "--no-access-log", config=config)

    def _worker(self, name: str) -> Service:
        port = self.network.link(f"{name}>scheduler", self._port)
        changes = self._ports_for(name) | {
            "scheduler_url": f"http://127.0.0.1:{port}",
            "worker_name": name,
            "work_folder": str(self.work_folder(name)),
        }
        arguments = ("worker", "--pool=threads", f"--concurrency={CONCURRENCY}", "--loglevel=INFO", "--without-mingle")
        config = self._write(name, changes)
        return self._service(name, "celery", "-A", "tests.chaos.worker_app", *arguments, config=config)

    def _ports_for(self, client: str) -> dict[str, Any]:
        rabbitmq = self.network.link(f"{client}>broker", self.servers.rabbitmq.port)
        s3 = self.network.link(f"{client}>s3", self.servers.s3.port)
        return {"rabbitmq_port": rabbitmq, "s3_endpoint_url": f"http://127.0.0.1:{s3}"}

    def _write(self, name: str, changes: Mapping[str, Any]) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(self._settings(**changes)))
        return path

    def _service(self, name: str, *arguments: str, config: Path) -> Service:
        env = {**os.environ, "ALTS_CONFIG": str(config), FOLDER_VARIABLE: str(self.folder)}
        if self.servers.engine is not None:
            env[REAL_VARIABLE] = "yes"
        argv = [sys.executable, "-m", *arguments]
        if self.plan.sets_clock_of(name):
            env |= self.clocks[name].environment
            argv[2:2] = ["tests.chaos.clock"]
        return Service(name, argv, env=env, cwd=ROOT, log=self.log_of(name))


def config_of(path: Path) -> Config:
    """Return the configuration of a service of a run."""
    return parse_config(yaml.safe_load(path.read_text()))

"""The contenders of a speed run: each tests a package once, from its request to its verdict."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from alts.core.instance import InstanceFile
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.runners.docker.composition import docker_parts, runner_of
from alts.runners.docker.runner import DockerRunner
from alts.runners.pool.composition import pooled
from alts.runners.registry import MakeRunner
from alts.shared.config import Config
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from tests.support.debian_image import debian_image
from tests.support.embedded import EmbeddedService
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.s3 import PrivateS3
from tests.support.small_archive import HOSTS
from tests.support.stack import LISTS_MAX_AGE, ServiceStack, schedule

FLOOR = "bare docker run"
PROXY_FILE = "/etc/apt/apt.conf.d/95proxy"
PROXY_VARIABLE = "ALTS_BENCH_PROXY"
_POLL = 0.05  # seconds; more polls would be a visible part of the work
_PATIENCE = 300.0
_NO_STEP = "make the machine"


@dataclass(frozen=True)
class Contender:
    """One way to test a package."""

    name: str
    test: Callable[[str], float | None]
    """Test the package of that name. Raises if the answer is not that it passes. Several threads may call it.

    Returns the seconds from the request to the first command in the machine, if it is known.
    """


def apt_proxy(url: str) -> str:
    """Return apt's settings for a machine that reads Debian's archive through the proxy."""
    return "".join(f'Acquire::http::Proxy::{host} "{url}";\n' for host in HOSTS)


@contextmanager
def bare_docker(folder: Path, *, proxy: str) -> Iterator[Contender]:
    """The floor: `docker run` with update, install and remove, as one would by hand."""
    settings = folder / "95proxy"
    settings.write_text(apt_proxy(proxy))
    image = debian_image()

    def test(package: str) -> None:
        script = f"apt-get -q update && apt-get -qy install {package} && apt-get -qy remove {package}"
        argv = ["docker", "run", "--rm", f"--volume={settings}:{PROXY_FILE}:ro", image, "sh", "-c", script]
        subprocess.run(argv, check=True, capture_output=True, timeout=_PATIENCE)

    yield Contender(FLOOR, test)


@contextmanager
def embedded(folder: Path, *, proxy: str, pool_size: int, lists: bool) -> Iterator[Contender]:
    """This service in one process, with the default plan. `lists`: whether package lists may come with the image."""
    name = f"embedded, {described(pool_size=pool_size, lists=lists)}"
    own = folder / name.replace(" ", "-")
    own.mkdir()
    changes = {"pool_size": pool_size, "repository_max_age": LISTS_MAX_AGE if lists else 0}
    with EmbeddedService(own, registry=proxied(proxy), **changes) as service, service.client as client:
        yield Contender(name, partial(_tested, client))


@contextmanager
def full_stack(folder: Path, *, proxy: str, pool_size: int) -> Iterator[Contender]:
    """This service as a scheduler, RabbitMQ, S3 and one worker, with the default plan and lists in the image."""
    name = f"RabbitMQ and S3, {described(pool_size=pool_size, lists=True)}"
    own = folder / "full-stack"
    own.mkdir()
    os.environ[PROXY_VARIABLE] = proxy
    with (
        PrivateRabbitMQ() as rabbitmq,
        PrivateS3() as s3,
        ServiceStack(own, rabbitmq, s3, pool_size=pool_size, caller_requests_per_minute=0) as stack,
        stack.worker("worker", app="bench.proxied_worker"),
        stack.client as client,
    ):
        yield Contender(name, partial(_tested, client))


def described(*, pool_size: int, lists: bool) -> str:
    """Return the end of a contender's name."""
    return f"{f'pool of {pool_size}' if pool_size else 'no pool'}{', lists' if lists else ''}"


def proxied(proxy: str) -> Mapping[str, MakeRunner]:
    """Return runners whose machines read Debian's archive through the proxy."""
    return {"docker": pooled(partial(_runner, files=[InstanceFile(PROXY_FILE, apt_proxy(proxy))]))}


def _tested(client: httpx.Client, package: str) -> float:
    task_id = schedule(client, package_name=package)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        result = client.get(f"/tasks/{task_id}/result").raise_for_status().json()
        if result["result"] is not None:
            if result["outcome"] != "passed":
                raise RuntimeError(f"{package} {result['outcome']}: {result['result']['reason']}")
            return first_command(client.get(f"/tasks/{task_id}").raise_for_status().json())
        time.sleep(_POLL)
    raise TimeoutError(f"{package} has no verdict after {_PATIENCE:.0f} s")


def first_command(task: Mapping[str, Any]) -> float:
    """Return the seconds from the request to the first command in the machine. `task`: from GET /tasks/{id}."""
    created, started = (datetime.fromisoformat(task[name]) for name in ("created_at", "started_at"))
    at = (started - created).total_seconds()
    for stage in task["progress"]:
        for step in stage["steps"]:
            if step["name"] != _NO_STEP:
                return at + float(step["at"])
        at += stage["seconds"]
    raise ValueError("the task has no command")


def _runner(config: Config, *, worker: str, folder: Path, files: Sequence[InstanceFile]) -> DockerRunner:
    def files_for(platform: Platform, repositories: Sequence[Repository]) -> Sequence[InstanceFile]:
        return (*PACKAGE_MANAGERS[platform.release.tool].files(platform, repositories), *files)

    parts = docker_parts(config, worker=worker, folder=folder, files_for=files_for)
    return runner_of(parts, config, folder=folder)

"""The contenders of a speed run: each tests a package once, from its request to its verdict."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alts.core.instance import InstanceFile
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.runners.docker.composition import docker_parts, runner_of
from alts.runners.docker.runner import DockerRunner
from alts.runners.pool.composition import pooled
from alts.shared.config import Config
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from tests.support.debian_image import debian_image
from tests.support.embedded import EmbeddedService
from tests.support.small_archive import HOSTS
from tests.support.stack import LISTS_MAX_AGE, schedule

PROXY_FILE = "/etc/apt/apt.conf.d/95proxy"
_POLL = 0.1  # seconds; more polls would be a visible part of the work
_PATIENCE = 300.0


@dataclass(frozen=True)
class Contender:
    """One way to test a package."""

    name: str
    test: Callable[[str], None]
    """Test the package of that name. Raises if the answer is not that it passes. Several threads may call it."""


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

    yield Contender("bare docker run", test)


@contextmanager
def embedded(folder: Path, *, proxy: str, pool_size: int, lists: bool) -> Iterator[Contender]:
    """This service in one process, with the default plan. `lists`: whether package lists may come with the image."""
    pool = f"pool of {pool_size}" if pool_size else "no pool"
    name = f"embedded, {pool}{', lists' if lists else ''}"
    files = [InstanceFile(PROXY_FILE, apt_proxy(proxy))]
    registry = {"docker": pooled(partial(_runner, files=files))}
    own = folder / name.replace(" ", "-")
    own.mkdir()
    changes = {"pool_size": pool_size, "repository_max_age": LISTS_MAX_AGE if lists else 0}
    with EmbeddedService(own, registry=registry, **changes) as service, service.client as client:

        def test(package: str) -> None:
            task_id = schedule(client, package_name=package)
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                result = client.get(f"/tasks/{task_id}/result").raise_for_status().json()
                if result["result"] is not None:
                    if result["outcome"] != "passed":
                        raise RuntimeError(f"{name}: {package} {result['outcome']}: {result['result']['reason']}")
                    return
                time.sleep(_POLL)
            raise TimeoutError(f"{name}: {package} has no verdict after {_PATIENCE:.0f} s")

        yield Contender(name, test)


def _runner(config: Config, *, worker: str, folder: Path, files: Sequence[InstanceFile]) -> DockerRunner:
    def files_for(platform: Platform, repositories: Sequence[Repository]) -> Sequence[InstanceFile]:
        return (*PACKAGE_MANAGERS[platform.release.tool].files(platform, repositories), *files)

    parts = docker_parts(config, worker=worker, folder=folder, files_for=files_for)
    return runner_of(parts, config, folder=folder)

"""Cancel a running task at any moment. By the verdict its machine is gone (figures: bench/cancel.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from tests.support.deb_repository import DEAF, build_deb, serving, write_index
from tests.support.embedded import EmbeddedService
from tests.support.stack import schedule, until, wait_for

pytestmark = pytest.mark.docker

# Seconds. The service promises five; concurrent tests may make it slower.
BOUND = 20.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with EmbeddedService(tmp_path) as service, service.client as client:
        yield client


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield a request for a package with scripts that ignore signals."""
    folder = tmp_path / "repository"
    folder.mkdir()
    build_deb(folder, "deaf", scripts={"preinst": DEAF, "postinst": DEAF * 20, "prerm": DEAF})
    write_index(folder)
    with serving(folder) as url:
        yield {"package_name": "deaf", "repositories": [{"url": url, "trusted": True}]}


def machines_of(task_id: str) -> list[str]:
    engine = docker.from_env()
    try:
        found = engine.containers.list(all=True, filters={"label": f"alts.task={task_id}"}, ignore_removed=True)
        return [str(machine.name) for machine in found]
    finally:
        engine.close()


Moment = Callable[[httpx.Client, str], object]


def stages(client: httpx.Client, task_id: str) -> list[str]:
    return [stage["stage"] for stage in client.get(f"/tasks/{task_id}").json()["progress"]]


def in_a_script(client: httpx.Client, task_id: str) -> bool:
    """Return whether a script runs: 3 s after the stage before install.

    apt-get update takes less than 3 s, the package's own scripts take a minute.
    """
    if "snapshot" not in stages(client, task_id):
        return False
    time.sleep(3)
    return True


MOMENTS: Mapping[str, Moment] = {
    "claimed": lambda client, task_id: client.get(f"/tasks/{task_id}").json()["phase"] == "running",
    "machine is made": lambda client, task_id: machines_of(task_id),
    "machine is there": lambda client, task_id: "prepare" in stages(client, task_id),
    "apt-get update": lambda client, task_id: "snapshot" in stages(client, task_id),
    "maintainer script": in_a_script,
}


def test_a_cancel_at_any_moment_ends_the_task_and_its_machine(client: httpx.Client, deaf: dict[str, Any]) -> None:
    for name, moment in MOMENTS.items():
        task_id = schedule(client, **deaf)
        until(partial(moment, client, task_id), seconds=120, interval=0.02)
        asked = time.monotonic()
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 202, name
        result = wait_for(client, task_id, seconds=60)

        assert result["outcome"] == "cancelled", name
        assert machines_of(task_id) == [], name
        assert time.monotonic() - asked < BOUND, name

"""Machines from real terraform, ansible and docker that are made ahead of their tasks, in batches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from alts.core.stop import Stop
from alts.runners.base import MachineRequest, Order, Provisioned, Runner, provision
from alts.runners.docker.composition import docker_runner
from alts.runners.docker.runner import DockerRunner
from alts.runners.pool.composition import with_pool
from alts.runners.pool.runner import PooledRunner
from alts.shared.errors import ProvisionFailed
from tests.support.builders import a_config, a_spec, an_order
from tests.support.debian_image import CACHE_FOLDER
from tests.support.stack import until

pytestmark = pytest.mark.docker

CONFIG = a_config(
    cache_folder=str(CACHE_FOLDER), instance_limits={"memory_mb": 256, "cpus": 0.5, "pids": 99}, pool_size=2
)
PLATFORM = a_spec().platform
REPOSITORY = {"url": "http://packages.example/debian bookworm main", "name": "mine", "trusted": True}


@pytest.fixture
def runner(tmp_path: Path, worker: str) -> Iterator[DockerRunner]:
    runner = docker_runner(CONFIG, worker=worker, folder=tmp_path / "shared")
    yield runner
    runner.remove_all_of(worker)
    runner.close()


def silent(text: str) -> None:
    """Discard the log."""


def batch(folder: Path, count: int) -> list[MachineRequest]:
    folder.mkdir()
    return [MachineRequest(PLATFORM, str(uuid.uuid4()), 0, folder) for _ in range(count)]


def new_order(folder: Path, **changes: object) -> Order:
    work_folder = folder / f"work-{uuid.uuid4().hex[:8]}"
    work_folder.mkdir()
    return replace(an_order(work_folder, **changes), task_id=str(uuid.uuid4()))


def test_machines_of_a_batch_are_sealed_limited_and_have_the_files_of_their_platform(
    runner: DockerRunner, tmp_path: Path, sdk: docker.DockerClient
) -> None:
    requests = batch(tmp_path / "batch", 3)

    made = runner.make_ready(requests, folder=tmp_path / "batch", stop=Stop(240), log=silent)

    assert [one.instance.name for one in made] == [request.name for request in requests]
    for one in made:
        assert one.not_sealed() == ""
        assert set(one.tools) == {"terraform", "docker", "ansible"}
        host = sdk.containers.get(one.instance.name).attrs["HostConfig"]
        assert (host["Memory"], host["PidsLimit"], host["NetworkMode"]) == (256 << 20, 99, one.instance.name)
        settings = one.instance.pull("/etc/apt/apt.conf.d/90alts", stop=Stop(10), limit=100_000)
        assert b"Error-Mode" in settings
    assert {(one.task_id, one.attempt) for one in runner.machines()} >= {(one.task_id, 0) for one in requests}

    for request in requests:
        assert runner.remove(request.task_id, 0) == 1
    assert [one for one in runner.machines() if one.attempt == 0 and one.task_id in {r.task_id for r in requests}] == []


def test_a_task_adds_its_repositories(runner: DockerRunner, tmp_path: Path) -> None:
    requests = batch(tmp_path / "batch", 1)
    [made] = runner.make_ready(requests, folder=tmp_path / "batch", stop=Stop(240), log=silent)
    order = new_order(tmp_path, repositories=[REPOSITORY])

    begun = time.monotonic()
    prepared = runner.prepare(made, order, stop=Stop(60), log=silent)
    seconds = time.monotonic() - begun

    source = prepared.instance.pull("/etc/apt/sources.list.d/alts-1.sources", stop=Stop(10), limit=100_000).decode()
    assert "URIs: http://packages.example/debian" in source
    assert prepared.image == {**made.image, "sealed": "yes"}
    # Ansible alone would take most of a second.
    assert seconds < 0.5


def test_a_batch_with_a_machine_that_cannot_be_made_leaves_none(
    runner: DockerRunner, tmp_path: Path, sdk: docker.DockerClient, worker: str
) -> None:
    requests = batch(tmp_path / "batch", 2)
    taken = sdk.containers.create(_image(sdk), ["true"], name=requests[1].name)
    try:
        with pytest.raises(ProvisionFailed):
            runner.make_ready(requests, folder=tmp_path / "batch", stop=Stop(240), log=silent)
    finally:
        taken.remove()

    assert [machine for machine in runner.machines() if machine.worker == worker] == []


def _image(sdk: docker.DockerClient) -> str:
    return str(sdk.images.list()[0].id)


@contextmanager
def pooled(runner: DockerRunner, folder: Path) -> Iterator[Runner]:
    pool = with_pool(runner, CONFIG, folder=folder)
    assert isinstance(pool, PooledRunner)
    try:
        yield pool
    finally:
        pool.close()


def use(pool: Runner, folder: Path) -> Provisioned:
    with provision(pool, new_order(folder), stop=Stop(240), log=silent) as machine:
        assert machine.instance.run(["true"], stop=Stop(10)).ok
        return machine


def test_the_second_task_finds_a_machine_that_waits_and_nothing_is_left(
    tmp_path: Path, worker: str, sdk: docker.DockerClient
) -> None:
    label: dict[str, str | list[str] | bool] = {"label": f"alts.worker={worker}"}
    runner = docker_runner(CONFIG, worker=worker, folder=tmp_path / "shared")
    with pooled(runner, tmp_path / "shared") as pool:
        cold = use(pool, tmp_path)
        until(lambda: pool._stock.waiting, seconds=60)  # type: ignore[attr-defined]

        begun = time.monotonic()
        warm = use(pool, tmp_path)
        seconds = time.monotonic() - begun

        assert warm.instance.name != cold.instance.name
        assert warm.instance.name.endswith("-0")
        assert warm.image == cold.image
        # A machine that is made for the task takes over two seconds.
        assert seconds < 1

    assert sdk.containers.list(all=True, filters=label) == []
    assert sdk.networks.list(filters=label) == []

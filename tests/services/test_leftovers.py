"""The check that nothing is left must itself see what is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.leftovers import WORKER_LABEL, leftovers, machines_of, processes_in, unnamed_things
from tests.services.tools_image import tools_image

pytestmark = pytest.mark.docker


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def test_a_container_a_volume_and_a_network_are_seen(tmp_path: Path, engine: docker.DockerClient) -> None:
    identity = tmp_path / "work/1/identity"
    identity.parent.mkdir(parents=True)
    identity.write_text("test-of-leftovers")
    before = unnamed_things()
    with tools_image() as image:
        container = engine.containers.create(
            image, ["true"], labels={WORKER_LABEL: "test-of-leftovers"}, volumes=["/data"]
        )
        network = engine.networks.create("alts-test-of-leftovers")
        try:
            assert machines_of(tmp_path) == {container.name}
            assert len(unnamed_things() - before) >= 2
        finally:
            container.remove(v=True)
            network.remove()

    assert leftovers(before, tmp_path) == []


def test_a_process_and_a_work_folder_are_seen(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        assert processes_in(tmp_path)
    finally:
        process.communicate(b"\n")

    assert not processes_in(tmp_path)

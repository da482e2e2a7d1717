"""What several files of tests of machines share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from tests.support.debian_image import debian_image
from tests.support.machine import HOST, KeptMachine, Machine


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptMachine]:
    """A container as a machine, which the tests of a file share until one of them changes it."""
    with closing(KeptMachine(debian_image())) as kept:
        yield kept


@pytest.fixture
def machine(kept: KeptMachine) -> Iterator[Machine]:
    with kept.lent() as machine:
        yield machine


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a worker's identity file. Its content labels a file's machines. Return the content."""
    identity = tmp_path_factory.mktemp("worker") / "work/1/identity"
    identity.parent.mkdir(parents=True)
    identity.write_text(uuid.uuid4().hex)
    return identity.read_text()


@pytest.fixture
def sdk() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=HOST)
    yield client
    client.close()

"""The leftovers check of the test suite finds actual leftovers."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.checkout import ROOT
from tests.support.engine_journal import EngineJournal
from tests.support.leftovers import THIS_RUN, WORKER_LABEL, leftovers, machines_of, processes_in
from tests.support.tools_image import tools_image

pytestmark = pytest.mark.docker


# A test file. Its fixture leaves things behind; its only test does not use them.
LEAKY = """
import docker, pytest
from pathlib import Path

@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    identity = tmp_path_factory.mktemp("service") / "work/1/identity"
    identity.parent.mkdir(parents=True)
    identity.write_text("{worker}")
    client = docker.from_env()
    for name in {names}:
        client.containers.create("{image}", ["true"], name=name, labels={{"alts.worker": "{worker}"}})
    yield
    for name in {removed}:
        client.containers.get(name).remove(v=True)
    client.close()

@pytest.mark.docker
def test_that_passes(machine):
    pass
"""


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tools_image() as image_id:
        yield image_id


def test_what_a_worker_has_made_is_seen_by_its_identity(
    tmp_path: Path, engine: docker.DockerClient, image: str
) -> None:
    identity = tmp_path / "work/1/identity"
    identity.parent.mkdir(parents=True)
    identity.write_text(uuid.uuid4().hex)
    labels = {WORKER_LABEL: identity.read_text()}
    container = engine.containers.create(image, ["true"], labels=labels)
    network = engine.networks.create(f"alts-test-{uuid.uuid4().hex[:8]}", labels=labels)
    try:
        assert machines_of(tmp_path) == {container.name}
        assert leftovers(tmp_path, patience=0) == [f"container {container.name}", f"network {network.name}"]
    finally:
        container.remove(v=True)
        network.remove()

    assert leftovers(tmp_path) == []


def test_what_a_test_has_made_is_seen_by_its_label(engine: docker.DockerClient, image: str) -> None:
    label = {f"{next(iter(THIS_RUN))}-of-leftovers": uuid.uuid4().hex}
    container = engine.containers.create(image, ["true"], labels=label)
    volume = engine.volumes.create(f"alts-test-{uuid.uuid4().hex[:8]}", labels=label)
    made = container.commit(conf={"Labels": label})
    try:
        assert leftovers(labels=label, patience=0) == [
            f"container {container.name}",
            f"volume {volume.name}",
            f"image {made.id}",
        ]
    finally:
        container.remove()
        volume.remove()
        engine.images.remove(str(made.id))

    assert leftovers(labels=label) == []


def test_a_volume_that_came_with_a_container_is_seen_when_that_is_gone(
    engine: docker.DockerClient, image: str, engine_journal: EngineJournal
) -> None:
    container = engine.containers.create(image, ["sh"], labels=dict(THIS_RUN), volumes=["/data"])
    container.start()
    container.remove(force=True)

    volumes = engine_journal.volumes_of({str(container.id)})
    try:
        assert len(volumes) == 1
        assert leftovers(volumes=volumes, patience=0) == [f"volume {name}" for name in volumes]
    finally:
        for name in volumes:
            engine.volumes.get(name).remove()

    assert leftovers(volumes=volumes) == []


def test_a_process_and_a_work_folder_are_seen(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
    folder = tmp_path / "work/1/tasks/one"
    folder.mkdir(parents=True)
    try:
        assert processes_in(tmp_path)
        assert any(str(folder) in line for line in leftovers(tmp_path, patience=0))
    finally:
        process.communicate(b"\n")
        folder.rmdir()

    assert not processes_in(tmp_path)


def run_a_file(tmp_path: Path, **values: object) -> subprocess.CompletedProcess[str]:
    """Run pytest with this project's conftest on a file with the content LEAKY."""
    file = tmp_path / "test_leaky.py"
    file.write_text(LEAKY.format(**values))
    plugins = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    command = [sys.executable, "-m", "pytest", "-q", *plugins, str(file)]
    return subprocess.run(
        [*command, f"--basetemp={tmp_path}/base", f"--confcutdir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_machine_that_a_fixture_of_a_whole_file_leaves_is_noticed(
    tmp_path: Path, engine: docker.DockerClient, image: str
) -> None:
    name = f"alts-test-{uuid.uuid4().hex[:8]}"
    try:
        done = run_a_file(tmp_path, image=image, names=[name], removed=[], worker=uuid.uuid4().hex)
    finally:
        engine.containers.get(name).remove()

    assert done.returncode == 1, done.stdout
    assert f"container {name}" in done.stdout
    assert "1 passed" in done.stdout


def test_a_file_that_makes_more_machines_than_its_row_says_is_noticed(tmp_path: Path, image: str) -> None:
    names = [f"alts-{uuid.uuid4()}-{attempt}" for attempt in (1, 2)]

    done = run_a_file(tmp_path, image=image, names=names, removed=names, worker=uuid.uuid4().hex)

    assert done.returncode == 1, done.stdout
    assert "has made 2 machines: CONTRIBUTING.md allows it 0" in done.stdout

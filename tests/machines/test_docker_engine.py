"""Images and containers in a real engine."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from alts.core.stop import Stop, Stopped, StopReason
from alts.images.archive import docker_archive
from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import EngineFailed
from alts.shared.errors import ProvisionFailed
from tests.support.debian_image import debian_image
from tests.support.leftovers import THIS_RUN
from tests.support.machine import HOST
from tests.support.small_registry import silent_registry, small_registry

pytestmark = pytest.mark.docker


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(HOST)
    yield engine
    engine.close()


@pytest.fixture
def sdk() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=HOST)
    yield client
    client.close()


@pytest.fixture
def reference(sdk: docker.DockerClient) -> Iterator[str]:
    """Yield a name for an image. The image is removed after the test."""
    name = f"alts-test:{uuid.uuid4().hex[:12]}"
    yield name
    remove_image(sdk, name)


def remove_image(sdk: docker.DockerClient, name: str) -> None:
    try:
        sdk.images.remove(name, force=True)
    except ImageNotFound:
        return


def a_layer(folder: Path) -> Path:
    layer = folder / "root.tar"
    with tarfile.open(layer, "w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 1 << 22
        tar.addfile(member, io.BytesIO(bytes(1 << 22)))
    return layer


def test_the_engine_says_its_version(engine: Engine) -> None:
    assert engine.version()[0].isdigit()


def test_no_engine_at_the_address_is_said_so() -> None:
    with pytest.raises(EngineFailed, match=r"be reached at unix:///no/such/socket") as raised:
        Engine("unix:///no/such/socket").version()

    assert isinstance(raised.value, ProvisionFailed)
    assert raised.value.retryable


def test_an_image_that_is_not_there_is_none(engine: Engine) -> None:
    assert engine.image("alts-test:no-such-image") is None


@pytest.mark.parametrize("architecture", ["amd64", "386", "arm64"])
def test_a_loaded_image_has_the_architecture_it_was_given(
    engine: Engine, reference: str, tmp_path: Path, architecture: str
) -> None:
    engine.load(docker_archive(a_layer(tmp_path), reference=reference, architecture=architecture), stop=Stop(60))

    found = engine.image(reference)

    assert found is not None
    assert found.architecture == architecture
    assert engine.image(found.id) == found


def test_loading_stops_when_told(engine: Engine, reference: str, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        engine.load(docker_archive(a_layer(tmp_path), reference=reference, architecture="386"), stop=Stop(0))

    assert engine.image(reference) is None


def test_what_is_no_archive_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineFailed):
        engine.load([b"no archive" * 100], stop=Stop(60))


def test_an_image_is_pulled_and_the_log_hears_of_it(engine: Engine, sdk: docker.DockerClient) -> None:
    said: list[str] = []
    with small_registry() as address:
        name = f"{address}/small:1"
        engine.pull(name, platform="linux/amd64", stop=Stop(60), log=said.append, answer_within=30)
    try:
        found = engine.image(name)
        assert found is not None
        assert found.architecture == "amd64"
        assert "Pulling from small" in "".join(said)

        engine.tag(found.id, "alts-test:pulled-twice")
        assert engine.image("alts-test:pulled-twice") == found
    finally:
        remove_image(sdk, name)
        remove_image(sdk, "alts-test:pulled-twice")


def test_a_registry_without_the_image_is_a_plain_no(engine: Engine) -> None:
    with small_registry() as address, pytest.raises(EngineFailed) as raised:
        engine.pull(f"{address}/small:2", platform="linux/amd64", stop=Stop(60), log=print, answer_within=30)

    assert "small:2" in f"{raised.value} {raised.value.details}"


def test_a_registry_that_is_away_is_not_waited_for(engine: Engine) -> None:
    started = time.monotonic()

    with silent_registry() as address, pytest.raises(EngineFailed, match="no registry answered"):
        engine.pull(f"{address}/small:1", platform="linux/amd64", stop=Stop(60), log=print, answer_within=0.5)

    assert time.monotonic() - started < 5


def test_a_pull_stops_when_told(engine: Engine) -> None:
    stop = Stop(60)
    threading.Timer(0.3, stop.request, [StopReason.CANCELLED]).start()

    with silent_registry() as address, pytest.raises(Stopped):
        engine.pull(f"{address}/small:1", platform="linux/amd64", stop=stop, log=print, answer_within=30)


def test_containers_are_found_by_all_their_labels_and_removed_with_their_volumes(
    engine: Engine, sdk: docker.DockerClient
) -> None:
    task = uuid.uuid4().hex
    machines = [
        sdk.containers.create(
            debian_image(), ["true"], labels={"alts.task": task, "alts.attempt": attempt, **THIS_RUN}, volumes=["/data"]
        )
        for attempt in ("1", "2")
    ]

    (found,) = engine.containers({"alts.task": task, "alts.attempt": "1"})
    assert (found.id, found.labels["alts.attempt"]) == (machines[0].id, "1")
    assert found.name == machines[0].name

    made = {volume.name for volume in sdk.volumes.list()}
    held = {mount["Name"] for machine in machines for mount in sdk.api.inspect_container(str(machine.id))["Mounts"]}
    assert len(held & made) == 2
    for one in engine.containers({"alts.task": task}):
        engine.remove_container(one.id)
        # Another caller may have removed it already.
        engine.remove_container(one.id)
    assert engine.containers({"alts.task": task}) == ()
    assert not held & {volume.name for volume in sdk.volumes.list()}

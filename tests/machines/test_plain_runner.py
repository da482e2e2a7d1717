"""Packages see no difference between machines of the tests' quick runner and of the service's own runner."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from alts.core.stop import Stop
from alts.runners.base import Order, provision
from alts.runners.docker.composition import docker_runner
from alts.worker.work_folder import WorkFolder
from tests.support.builders import a_config, a_spec
from tests.support.debian_image import CACHE_FOLDER
from tests.support.plain_runner import plain_runner

pytestmark = pytest.mark.docker

CONFIG = a_config(cache_folder=str(CACHE_FOLDER), instance_limits={"memory_mb": 256, "cpus": 0.5, "pids": 99})
REPOSITORY = {"name": "mine", "url": "http://192.0.2.1/debian", "trusted": True, "priority": 700}

# Attributes that a runner sets. The engine decides all others.
CONFIGURED = ("Cmd", "Entrypoint", "Env", "User", "Tty", "OpenStdin", "Volumes", "WorkingDir", "StopSignal")
LIMITED = (
    *("Memory", "MemorySwap", "NanoCpus", "PidsLimit", "ShmSize", "SecurityOpt", "CapAdd", "CapDrop", "Privileged"),
    *("LogConfig", "RestartPolicy", "ReadonlyRootfs", "Binds", "Devices", "IpcMode", "PidMode", "UTSMode"),
)


@dataclass(frozen=True)
class Seen:
    """Observed properties of a machine."""

    container: Mapping[str, Any]
    network: Mapping[str, Any]
    labels: frozenset[str]
    files: str
    """Names, modes and contents of the files written for the task."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, Seen]]:
    folder = tmp_path_factory.mktemp("machines")
    with ExitStack() as stack:
        work = WorkFolder(folder / "work")
        stack.callback(work.close)
        work.reset()
        client = stack.enter_context(closing(docker.from_env()))
        seen = []
        for make in (docker_runner, plain_runner):
            runner = make(CONFIG, worker=work.identity, folder=work.shared)
            stack.callback(runner.close)
            task_id = str(uuid.uuid4())
            attempt = stack.enter_context(work.attempt(task_id, 1))
            order = Order(task_id=task_id, attempt=1, spec=a_spec(repositories=[REPOSITORY]), work_folder=attempt)
            with provision(runner, order, stop=Stop(240), log=lambda text: None) as provisioned:
                seen.append(look(client, provisioned.instance.name, provisioned.instance))
        yield seen[0], seen[1]


def look(client: docker.DockerClient, name: str, instance: Any) -> Seen:
    found = client.containers.get(name).attrs
    network = client.networks.get(name).attrs
    [pool] = network["IPAM"]["Config"]
    files = "cd /etc/apt && for f in $(find . -name '*alts*' -type f | sort); do stat -c '%n %a %u:%g' $f; cat $f; done"
    return Seen(
        container={
            **{key: found["Config"].get(key) for key in CONFIGURED},
            **{key: found["HostConfig"][key] for key in LIMITED},
        },
        network={
            **{key: network[key] for key in ("Driver", "Internal", "Attachable", "EnableIPv6", "Options", "Scope")},
            "pool": sorted(pool),
            "prefix": pool["Subnet"].partition("/")[2],
        },
        labels=frozenset({*found["Config"]["Labels"], *network["Labels"]}),
        files=instance.run(["sh", "-c", files], stop=Stop(20)).output,
    )


def test_its_container_has_the_same_settings_and_limits(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.container == real.container


def test_its_network_is_of_the_same_kind_and_size(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.network == real.network


def test_both_carry_the_same_labels_and_can_be_found_by_them(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.labels == real.labels
    assert {"alts.task", "alts.attempt", "alts.worker"} <= plain.labels


def test_the_same_files_are_written_for_the_task(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert "192.0.2.1" in real.files
    assert plain.files == real.files

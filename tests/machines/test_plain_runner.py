"""Packages see no difference between machines of the tests' quick runner and of the service's own runner."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from alts.core.instance import Instance
from alts.core.stop import Stop
from alts.runners.base import Order, Runner, provision
from alts.runners.docker.composition import docker_runner
from alts.worker.work_folder import WorkFolder
from tests.support.builders import a_config, a_spec
from tests.support.debian_image import CACHE_FOLDER
from tests.support.leftovers import leftovers
from tests.support.machine import eventually
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


# Each real machine has a network of its own, so the engine needs no such option to keep them apart.
BETWEEN_MACHINES = "com.docker.network.bridge.enable_icc"


@dataclass(frozen=True)
class Seen:
    """Observed properties of a machine."""

    container: Mapping[str, Any]
    network: Mapping[str, Any]
    labels: frozenset[str]
    network_labels: frozenset[str]
    files: str
    """Names, modes and contents of the files written for the task."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkFolder]:
    with closing(WorkFolder(tmp_path_factory.mktemp("machines") / "work")) as work:
        work.reset()
        yield work


@pytest.fixture(scope="module")
def plain(work: WorkFolder) -> Iterator[Runner]:
    with closing(plain_runner(CONFIG, worker=work.identity, folder=work.shared)) as runner:
        yield runner


@contextmanager
def a_machine(runner: Runner, work: WorkFolder) -> Iterator[Instance]:
    task_id = str(uuid.uuid4())
    with work.attempt(task_id, 1) as folder:
        order = Order(task_id=task_id, attempt=1, spec=a_spec(repositories=[REPOSITORY]), work_folder=folder)
        with provision(runner, order, stop=Stop(240), log=lambda text: None) as provisioned:
            yield provisioned.instance


@pytest.fixture(scope="module")
def both(work: WorkFolder, plain: Runner) -> Iterator[tuple[Seen, Seen]]:
    with (
        closing(docker.from_env()) as client,
        closing(docker_runner(CONFIG, worker=work.identity, folder=work.shared)) as real,
    ):
        seen = []
        for runner in (real, plain):
            with a_machine(runner, work) as machine:
                seen.append(look(client, machine))
        yield seen[0], seen[1]


def look(client: docker.DockerClient, machine: Instance) -> Seen:
    found = client.containers.get(machine.name).attrs
    [joined] = found["NetworkSettings"]["Networks"]
    network = client.networks.get(joined).attrs
    [pool] = network["IPAM"]["Config"]
    files = "cd /etc/apt && for f in $(find . -name '*alts*' -type f | sort); do stat -c '%n %a %u:%g' $f; cat $f; done"
    return Seen(
        container={
            **{key: found["Config"].get(key) for key in CONFIGURED},
            **{key: found["HostConfig"][key] for key in LIMITED},
        },
        network={
            **{key: network[key] for key in ("Driver", "Internal", "Attachable", "EnableIPv6", "Scope")},
            "options": {key: value for key, value in network["Options"].items() if key != BETWEEN_MACHINES},
            "pool": sorted(pool),
        },
        labels=frozenset(found["Config"]["Labels"]),
        network_labels=frozenset(network["Labels"]),
        files=machine.run(["sh", "-c", files], stop=Stop(20)).output,
    )


def test_its_container_has_the_same_settings_and_limits(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.container == real.container


def test_its_network_is_of_the_same_kind(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.network == real.network


def test_both_carry_the_same_labels_and_can_be_found_by_them(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert plain.labels == real.labels == real.network_labels == {"alts.task", "alts.attempt", "alts.worker"}
    assert plain.network_labels == {"alts.worker"}


def test_machines_of_one_network_cannot_reach_each_other(work: WorkFolder, plain: Runner) -> None:
    listen = "perl -MIO::Socket -e 'my $s = IO::Socket::INET->new(LocalPort => 4711, Listen => 5) or die; sleep 60' &"
    connect = "exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 4711, Timeout => 2)"
    with a_machine(plain, work) as one, a_machine(plain, work) as other:
        one.run(["sh", "-c", listen], stop=Stop(20))
        address = address_of(one)
        assert eventually(lambda: answers(address))
        tried = other.run(["perl", "-MIO::Socket", "-e", connect, address], stop=Stop(20))
        own = one.run(["perl", "-MIO::Socket", "-e", connect, address], stop=Stop(20))

    assert (tried.exit_code, own.exit_code) == (1, 0), tried.output


def address_of(machine: Instance) -> str:
    with closing(docker.from_env()) as client:
        [network] = client.containers.get(machine.name).attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, 4711), timeout=2).close()
    except OSError:
        return False
    return True


def test_a_forgotten_network_is_noticed_and_a_closed_runner_has_none(tmp_path: Path) -> None:
    with closing(WorkFolder(tmp_path / "work")) as work:
        work.reset()
        with closing(plain_runner(CONFIG, worker=work.identity, folder=work.shared)) as runner:
            with a_machine(runner, work):
                pass
            [left] = leftovers(tmp_path, patience=0)
            with a_machine(runner, work):
                assert len([one for one in leftovers(tmp_path, patience=0) if one.startswith("network ")]) == 1
        after = leftovers(tmp_path, patience=0)

    assert left.startswith("network alts-shared-")
    assert after == []


def test_the_same_files_are_written_for_the_task(both: tuple[Seen, Seen]) -> None:
    real, plain = both

    assert "192.0.2.1" in real.files
    assert plain.files == real.files

"""Machines from real terraform, ansible and docker: creation, use, and removal in every case."""

from __future__ import annotations

import ipaddress
import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from alts.core.instance import InstanceFile
from alts.core.stop import Stop, Stopped, StopReason
from alts.provisioning.terraform.cli import VARIABLES_NAME
from alts.runners.base import Order, Provisioned, provision
from alts.runners.docker.composition import docker_parts, docker_runner, runner_of
from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import EngineFailed
from alts.runners.docker.runner import DockerRunner
from alts.runners.docker.seal import SEAL_TIMEOUT
from alts.runners.terraform import FilesFor
from alts.shared.errors import InstanceLost, ProvisionFailed
from tests.support.builders import a_config, an_order
from tests.support.debian_image import CACHE_FOLDER
from tests.support.engine_proxy import EngineProxy
from tests.support.leftovers import THIS_RUN
from tests.support.machine import HOST

pytestmark = pytest.mark.docker

CONFIG = a_config(cache_folder=str(CACHE_FOLDER), instance_limits={"memory_mb": 256, "cpus": 0.5, "pids": 99})


@pytest.fixture(scope="module")
def the_runner(tmp_path_factory: pytest.TempPathFactory, worker: str) -> Iterator[DockerRunner]:
    """Yield one runner for all tests. Like a worker's, its provider serves one machine after the other."""
    runner = docker_runner(CONFIG, worker=worker, folder=tmp_path_factory.mktemp("runner"))
    yield runner
    runner.close()


@pytest.fixture
def runner(the_runner: DockerRunner, worker: str) -> Iterator[DockerRunner]:
    yield the_runner
    the_runner.remove_all_of(worker)


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return new_order(tmp_path)


def new_order(folder: Path, *, attempt: int = 1, task_id: str = "") -> Order:
    work_folder = folder / f"work-{uuid.uuid4().hex[:8]}"
    work_folder.mkdir()
    return replace(an_order(work_folder), task_id=task_id or str(uuid.uuid4()), attempt=attempt)


def silent(text: str) -> None:
    """Discard the log."""


@contextmanager
def made(runner: DockerRunner, order: Order, *, stop: Stop | None = None) -> Iterator[Provisioned]:
    """Make a machine and seal it, without the files of a task, which take Ansible a second."""
    with runner.make(order.request, stop=stop or Stop(240), log=silent) as machine:
        machine.not_sealed()
        yield machine


def networks_of(sdk: docker.DockerClient, order: Order) -> list[str]:
    return [str(network.name) for network in sdk.networks.list(filters={"label": f"alts.task={order.task_id}"})]


def machines_of(sdk: docker.DockerClient, order: Order) -> list[str]:
    found = sdk.containers.list(all=True, filters={"label": f"alts.task={order.task_id}"}, ignore_removed=True)
    return [str(machine.name) for machine in found]


def test_a_machine_is_made_ready_used_and_gone(runner: DockerRunner, order: Order, sdk: docker.DockerClient) -> None:
    said: list[str] = []

    with provision(runner, order, stop=Stop(240), log=said.append) as provisioned:
        done = provisioned.instance.run(["true"], stop=Stop(10))
        assert machines_of(sdk, order) == networks_of(sdk, order) == [f"alts-{order.task_id}-1"]

    assert done.ok
    assert machines_of(sdk, order) == networks_of(sdk, order) == []
    assert set(provisioned.tools) == {"terraform", "ansible", "docker"}
    assert all(version[0].isdigit() for version in provisioned.tools.values())
    assert provisioned.image["id"].startswith("sha256:")
    assert set(provisioned.image) == {"architecture", "emulated", "id", "origin", "reference", "sealed"}
    assert "Creation complete" in "".join(said)
    assert "PLAY RECAP" in "".join(said)


def test_the_machine_has_its_labels_and_its_limits(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient, worker: str
) -> None:
    with made(runner, order):
        found = sdk.api.inspect_container(f"alts-{order.task_id}-1")

    labels, host = found["Config"]["Labels"], found["HostConfig"]
    assert (labels["alts.task"], labels["alts.attempt"], labels["alts.worker"]) == (order.task_id, "1", worker)
    assert (host["Memory"], host["PidsLimit"]) == (256 << 20, 99)
    assert not host["Privileged"]


def test_machines_cannot_reach_each_other_and_their_networks_are_the_pool_s(
    runner: DockerRunner, tmp_path: Path, sdk: docker.DockerClient
) -> None:
    orders = [new_order(tmp_path), new_order(tmp_path)]
    with (
        made(runner, orders[0]) as one,
        made(runner, orders[1]) as other,
    ):
        addresses = [
            sdk.api.inspect_container(f"alts-{order.task_id}-1")["NetworkSettings"]["Networks"][
                f"alts-{order.task_id}-1"
            ]["IPAddress"]
            for order in orders
        ]
        listener = "my $s = IO::Socket::INET->new(LocalPort => 7, Listen => 1) or die; sleep 60"
        other.instance.run(
            ["sh", "-c", f"setsid perl -MIO::Socket -e '{listener}' >/dev/null 2>&1 & sleep 1"], stop=Stop(20)
        )
        knock = "exit(IO::Socket::INET->new(PeerAddr => shift, PeerPort => 7, Timeout => 3) ? 0 : 4)"
        themselves = other.instance.run(["perl", "-MIO::Socket", "-e", knock, addresses[1]], stop=Stop(20))
        each_other = one.instance.run(["perl", "-MIO::Socket", "-e", knock, addresses[1]], stop=Stop(20))

    assert (themselves.exit_code, each_other.exit_code) == (0, 4)
    pool = ipaddress.ip_network(CONFIG.instance_network_pool or "")
    assert all(ipaddress.ip_address(address) in pool for address in addresses)


def test_a_subnet_that_somebody_takes_at_the_last_moment_is_given_up_for_another(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    theirs: list[str] = []

    def take_it(text: str) -> None:
        variables = order.work_folder / "terraform" / VARIABLES_NAME
        if not theirs and variables.exists():
            [machine] = json.loads(variables.read_text())["machines"].values()
            subnet = machine["subnet"]
            pools = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
            theirs.append(str(sdk.networks.create(f"theirs-{order.task_id[:8]}", ipam=pools, labels=dict(THIS_RUN)).id))

    try:
        with runner.make(order.request, stop=Stop(240), log=take_it) as machine:
            assert machine.instance.alive()
        assert theirs
    finally:
        for network in theirs:
            sdk.networks.get(network).remove()


def test_an_exception_inside_removes_the_machine_and_goes_on_up(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    with pytest.raises(KeyboardInterrupt), made(runner, order):
        raise KeyboardInterrupt

    assert machines_of(sdk, order) == []


def test_a_machine_goes_also_when_its_time_has_run_out(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    stop = Stop(240)

    with made(runner, order, stop=stop):
        stop.request(StopReason.CANCELLED)

    assert machines_of(sdk, order) == []


@pytest.mark.parametrize("moment", ["Initializing the backend", "Creating...", "Creation complete", "PLAY [", "TASK ["])
def test_a_cancel_while_the_machine_is_made_leaves_nothing(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient, moment: str
) -> None:
    stop = Stop(240)

    def cancel(text: str) -> None:
        if moment in text:
            stop.request(StopReason.CANCELLED)

    with pytest.raises(Stopped), provision(runner, order, stop=stop, log=cancel):
        pytest.fail("entered although it was cancelled")

    assert machines_of(sdk, order) == []


def test_what_terraform_has_lost_track_of_is_found_by_its_label(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    with made(runner, order):
        shutil.rmtree(order.work_folder)

    assert machines_of(sdk, order) == []


def test_a_machine_that_is_gone_already_makes_no_trouble_at_the_end(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    with made(runner, order):
        sdk.api.remove_container(f"alts-{order.task_id}-1", force=True)

    assert machines_of(sdk, order) == []


@pytest.fixture
def proxied(tmp_path: Path, worker: str, runner: DockerRunner) -> Iterator[tuple[DockerRunner, EngineProxy]]:
    """Yield a runner with an engine that can be disconnected. `runner` removes anything that it leaves behind."""
    with EngineProxy() as proxy:
        config = CONFIG.model_copy(update={"docker_host": proxy.docker_host})
        doomed = docker_runner(config, worker=worker, folder=tmp_path / "doomed")
        yield doomed, proxy
        doomed.close()


def when_reached(proxy: EngineProxy, act: Callable[[], object]) -> threading.Thread:
    """Call `act` in a thread as soon as the proxy holds the chosen request."""

    def wait_and_act() -> None:
        assert proxy.reached.wait(120)
        act()

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread


def test_an_engine_that_is_lost_while_a_machine_is_prepared_is_what_is_said(
    proxied: tuple[DockerRunner, EngineProxy], order: Order
) -> None:
    runner, proxy = proxied
    proxy.hold(f"/containers/alts-{order.task_id}-1/exec".encode())
    striking = when_reached(proxy, proxy.go_away)

    with pytest.raises(ProvisionFailed) as caught, provision(runner, order, stop=Stop(240), log=silent):
        pytest.fail("entered although the engine was lost")
    striking.join()

    assert str(caught.value).startswith("while the machine was being prepared: the Docker engine could not")
    assert proxy.docker_host in str(caught.value)
    assert caught.value.retryable


def test_a_machine_that_is_lost_while_it_is_prepared_is_what_is_said(
    proxied: tuple[DockerRunner, EngineProxy], order: Order, sdk: docker.DockerClient
) -> None:
    runner, proxy = proxied
    name = f"alts-{order.task_id}-1"
    proxy.hold(f"/containers/{name}/exec".encode())

    def kill() -> None:
        sdk.api.remove_container(name, force=True)
        proxy.release()

    striking = when_reached(proxy, kill)

    with pytest.raises(InstanceLost) as caught, provision(runner, order, stop=Stop(240), log=silent):
        pytest.fail("entered although the machine was lost")
    striking.join()

    assert str(caught.value).startswith("the machine was lost while it was being prepared: ")
    assert caught.value.retryable


@pytest.fixture
def runner_with(tmp_path: Path, worker: str) -> Iterator[Callable[..., DockerRunner]]:
    made: list[DockerRunner] = []

    def make(
        files_for: FilesFor,
        engine: Engine | None = None,
        networks_denied: Sequence[str] = CONFIG.instance_networks_denied,
    ) -> DockerRunner:
        config = CONFIG.model_copy(update={"instance_networks_denied": networks_denied})
        folder = tmp_path / "provider"
        parts = docker_parts(config, worker=worker, folder=folder, engine=engine, files_for=files_for)
        made.append(runner_of(parts, config, folder=folder))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


def test_a_machine_that_cannot_be_prepared_is_removed(
    runner_with: Callable[..., DockerRunner], order: Order, sdk: docker.DockerClient
) -> None:
    runner = runner_with(lambda platform, repositories: [InstanceFile("/proc/no-such-folder/file", "content")])

    with pytest.raises(ProvisionFailed), provision(runner, order, stop=Stop(240), log=silent):
        pytest.fail("entered although it could not be prepared")

    assert machines_of(sdk, order) == []


def test_the_files_that_a_task_needs_are_there(runner_with: Callable[..., DockerRunner], order: Order) -> None:
    runner = runner_with(lambda platform, repositories: [InstanceFile("/etc/alts/note", f"{platform} ä\n", "0600")])

    with provision(runner, order, stop=Stop(240), log=silent) as provisioned:
        assert (
            provisioned.instance.pull("/etc/alts/note", stop=Stop(10), limit=100_000).decode()
            == "debian-12 on x86_64 ä\n"
        )


class EngineWithoutHelpers(Engine):
    """Refuse the helper that enters a machine's network."""

    def connect(self, *, timeout: int) -> docker.APIClient:
        if timeout == SEAL_TIMEOUT:
            raise EngineFailed("the engine refuses", details="not allowed to use CAP_NET_ADMIN here")
        return super().connect(timeout=timeout)


def test_a_machine_that_cannot_be_sealed_is_not_used(
    runner_with: Callable[..., DockerRunner], order: Order, sdk: docker.DockerClient
) -> None:
    runner = runner_with(lambda platform, repositories: (), EngineWithoutHelpers(HOST))

    with (
        pytest.raises(ProvisionFailed, match="cannot be sealed: the engine refuses") as caught,
        provision(runner, order, stop=Stop(240), log=silent),
    ):
        pytest.fail("entered although it could not be sealed")

    assert caught.value.retryable
    assert machines_of(sdk, order) == []


def test_where_nothing_is_denied_it_is_used_all_the_same_and_the_log_says_so(
    runner_with: Callable[..., DockerRunner], order: Order
) -> None:
    runner = runner_with(lambda platform, repositories: (), EngineWithoutHelpers(HOST), networks_denied=())
    said: list[str] = []

    with provision(runner, order, stop=Stop(240), log=said.append) as provisioned:
        assert provisioned.instance.run(["true"], stop=Stop(10)).ok

    assert provisioned.image["sealed"] == "no"
    assert "not sealed: the engine refuses: not allowed to use CAP_NET_ADMIN" in "".join(said)


def test_machines_are_made_side_by_side(runner: DockerRunner, tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=120)

    def use(order: Order) -> str:
        with made(runner, order) as machine:
            together.wait()
            return machine.instance.run(["cat", "/etc/hostname"], stop=Stop(30)).output

    with ThreadPoolExecutor(3) as pool:
        names = list(pool.map(use, [new_order(tmp_path) for _ in range(3)]))

    assert len(set(names)) == 3


def a_leftover(sdk: docker.DockerClient, image: str, *, task: str, attempt: str, worker: str) -> str:
    """Start a labelled container with its own network. Return the container's id."""
    labels = {"alts.task": task, "alts.attempt": attempt, "alts.worker": worker, **THIS_RUN}
    network = sdk.networks.create(f"leftover-{uuid.uuid4().hex[:8]}", labels=labels)
    command = ["sleep", "infinity"]
    made = sdk.containers.run(image, command, labels=labels, init=True, detach=True, network=network.name)
    return str(made.id)


def test_only_earlier_attempts_of_the_task_are_leftovers(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient, worker: str
) -> None:
    with made(runner, replace(order, attempt=3)) as machine:
        image = machine.image["id"]
        for attempt in ("1", "2"):
            a_leftover(sdk, image, task=order.task_id, attempt=attempt, worker="dead")
        other = a_leftover(sdk, image, task=str(uuid.uuid4()), attempt="1", worker=worker)

        assert runner.remove_leftovers(order.task_id, below=3) == 2

        assert machines_of(sdk, order) == networks_of(sdk, order) == [f"alts-{order.task_id}-3"]
        assert runner.remove_leftovers(order.task_id, below=3) == 0
        assert sdk.containers.get(other).status == "running"


def test_what_a_dead_predecessor_left_goes_and_other_workers_machines_stay(
    runner: DockerRunner, order: Order, sdk: docker.DockerClient
) -> None:
    dead = f"dead-{uuid.uuid4().hex[:8]}"
    with made(runner, order) as machine:
        for attempt in ("1", "2"):
            a_leftover(sdk, machine.image["id"], task=str(uuid.uuid4()), attempt=attempt, worker=dead)

        assert runner.remove_all_of(dead) == 2

        assert machine.instance.alive()
        assert runner.remove_all_of(dead) == 0

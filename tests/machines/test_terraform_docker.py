"""The module and the embedded provider with the real terraform and engine, also if processes are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from alts.core.stop import Stop, Stopped, StopReason
from alts.provisioning.terraform.cli import Terraform, find_terraform, launcher_for_wheel, write_override
from alts.runners.docker.engine import Engine
from alts.runners.docker.module import provider_override
from alts.runners.docker.provider.process import ProviderProcess
from alts.shared.errors import ProvisionFailed
from tests.support.checkout import ROOT
from tests.support.engine_proxy import ENGINE, EngineProxy
from tests.support.leftovers import THIS_RUN
from tests.support.processes import ended
from tests.support.tools_image import tools_image

pytestmark = pytest.mark.docker

MODULE = ROOT / "resources" / "terraform" / "docker"
HOST = f"unix://{ENGINE}"
LABEL = "alts.task"
MTU = "com.docker.network.driver.mtu"
# Without a terraform in PATH both cases would run the wheel's.
needs_path = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform in PATH")
each_terraform = pytest.mark.parametrize(
    "wheel",
    [pytest.param(False, id="terraform in PATH", marks=needs_path), pytest.param(True, id="terraform from the wheel")],
)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tools_image() as image_id:
        yield image_id


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=HOST)
    yield client
    client.close()


@pytest.fixture
def proxy() -> Iterator[EngineProxy]:
    with EngineProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """Yield one provider for all tests with the host's engine. Like a worker's, it serves many modules."""
    provider = ProviderProcess(tmp_path_factory.mktemp("provider"), docker_host=HOST)
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Path:
    """Return a folder with the module after `terraform init`, to be copied."""
    folder = tmp_path_factory.mktemp("initialised")
    new_module(folder / "module")
    executable = find_terraform(None, folder=folder)
    environment = provider.environment(Stop(60))
    Terraform(folder / "module", executable=executable, environment=environment, sink=print).initialise(Stop(60))
    return folder / "module"


def new_module(folder: Path) -> None:
    shutil.copytree(MODULE, folder)
    write_override(folder, provider_override(None))


class Site:
    """A provider and the modules attached to it."""

    def __init__(
        self, folder: Path, image: str, docker_host: str, initialised: Path, provider: ProviderProcess
    ) -> None:
        self.docker_host = docker_host
        self.provider = provider
        self.name = f"alts-test-{uuid.uuid4().hex[:8]}"
        self.heard: list[str] = []
        self._folder = folder
        self._image = image
        self._initialised = initialised

    def terraform(self, module: str = "module", *, wheel: bool = False) -> Terraform:
        """Return an initialised module."""
        folder = self._folder / module
        if not folder.exists():
            shutil.copytree(self._initialised, folder, symlinks=True)
        return self._terraform(folder, wheel=wheel)

    def new_terraform(self, module: str = "module", *, wheel: bool = False) -> Terraform:
        """Return a module that is yet to be initialised."""
        new_module(self._folder / module)
        return self._terraform(self._folder / module, wheel=wheel)

    def _terraform(self, folder: Path, *, wheel: bool) -> Terraform:
        return Terraform(
            folder,
            executable=launcher_for_wheel(self._folder) if wheel else find_terraform(None, folder=self._folder),
            environment=self.provider.environment(Stop(60)),
            sink=self.heard.append,
        )

    def remove_networks(self) -> None:
        """Remove networks that a failed apply has made. Like the runner, find them by label."""
        engine = Engine(HOST)
        for network in engine.networks({LABEL: self.name}):
            engine.remove_network(network.id)
        engine.close()

    def variables(self, **changes: object) -> dict[str, object]:
        """Return the variables of a single machine. `changes` are of the machine, or of what all machines share."""
        machine: dict[str, object] = {
            "name": self.name,
            "hostname": "machine",
            "labels": {LABEL: self.name, "odd": "${7 * 7} %{if true}'\"", **THIS_RUN},
            "subnet": "",
        }
        machine |= {key: value for key, value in changes.items() if key in machine}
        return {
            "docker_host": self.docker_host,
            "machines": {str(machine.pop("name")): machine},
            "image": self._image,
            "memory_mb": 64,
            "cpus": 0.5,
            "pids": 77,
            **{key: value for key, value in changes.items() if key not in (*machine, "name")},
        }


def only(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the output for the module's only machine."""
    [machine] = outputs["machines"].values()
    return dict(machine)


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path, image: str, initialised: Path, provider: ProviderProcess) -> Iterator[MakeSite]:
    sites: list[Site] = []

    def make(docker_host: str = HOST) -> Site:
        """Return a site for an engine. One for another engine than the host's has a provider of its own."""
        serving = provider if docker_host == HOST else ProviderProcess(tmp_path / "provider", docker_host=docker_host)
        sites.append(Site(tmp_path, image, docker_host, initialised, serving))
        return sites[-1]

    yield make
    for site in sites:
        if site.provider is not provider:
            site.provider.close()
        site.remove_networks()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


def running_terraform(folder: Path) -> list[int]:
    """Return the process ids of terraforms that run in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and b"terraform" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def provider_pid(site: Site) -> int:
    (value,) = json.loads(site.provider.environment(Stop(60))["TF_REATTACH_PROVIDERS"]).values()
    return int(value["Pid"])


def exists(engine: docker.DockerClient, name: str) -> bool:
    try:
        engine.containers.get(name)
    except NotFound:
        return False
    return True


def gone(engine: docker.DockerClient, name: str, *, within: float = 15.0) -> bool:
    end = time.monotonic() + within
    while exists(engine, name) and time.monotonic() < end:
        time.sleep(0.1)
    return not exists(engine, name)


def inspected(engine: docker.DockerClient, container_id: object) -> dict[str, Any]:
    attributes: dict[str, Any] = engine.containers.get(str(container_id)).attrs
    return attributes


@each_terraform
def test_a_machine_is_made_as_asked_and_goes_again(site: Site, engine: docker.DockerClient, wheel: bool) -> None:
    terraform = site.new_terraform(wheel=wheel)
    terraform.initialise(Stop(60))

    asked = site.variables(subnet="10.214.3.8/29", network_options={MTU: "1300"})
    outputs = only(terraform.create(asked, Stop(60)))

    made = inspected(engine, outputs["id"])
    host = made["HostConfig"]
    assert outputs["name"] == site.name
    assert outputs["ip"] == made["NetworkSettings"]["Networks"][site.name]["IPAddress"] != ""
    assert made["State"]["Running"]
    assert made["Config"]["Hostname"] == "machine"
    assert made["Config"]["Labels"] == {LABEL: site.name, "odd": "${7 * 7} %{if true}'\"", **THIS_RUN}
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 64 << 20)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 77)
    assert (host["SecurityOpt"], host["Privileged"]) == (["no-new-privileges"], False)
    assert (host["CapAdd"], host["CapDrop"]) == (None, ["CAP_NET_RAW"])
    assert (host["ShmSize"], host["LogConfig"]["Type"]) == (64 << 20, "none")
    network = engine.networks.get(site.name).attrs
    assert (network["Labels"], network["Options"]) == (made["Config"]["Labels"], {MTU: "1300"})
    assert network["IPAM"]["Config"][0]["Subnet"] == "10.214.3.8/29"

    terraform.remove(Stop(60))
    terraform.remove(Stop(60))

    assert not exists(engine, site.name)
    assert engine.networks.list(names=[site.name]) == []
    assert terraform.version(Stop(10)).startswith("1.")


def test_asking_again_for_the_same_changes_nothing(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    first = only(terraform.create(site.variables(), Stop(60)))

    assert only(terraform.create(site.variables(), Stop(60))) == first
    assert "No changes" in "".join(site.heard)

    terraform.remove(Stop(60))


def test_a_batch_has_a_network_for_each_machine(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    asked = site.variables()
    [one] = cast("dict[str, dict[str, object]]", asked["machines"]).values()
    names = [f"{site.name}-{number}" for number in range(4)]
    subnets = [f"10.214.4.{number * 8}/29" for number in range(4)]
    asked["machines"] = {name: {**one, "subnet": subnet} for name, subnet in zip(names, subnets, strict=True)}

    machines = cast("dict[str, dict[str, str]]", terraform.create(asked, Stop(60))["machines"])

    assert sorted(machines) == names
    for name, subnet in zip(names, subnets, strict=True):
        made = inspected(engine, machines[name]["id"])
        assert made["Name"] == f"/{name}"
        assert set(made["NetworkSettings"]["Networks"]) == {name}
        assert engine.networks.get(name).attrs["IPAM"]["Config"][0]["Subnet"] == subnet
    terraform.remove(Stop(60))
    assert not any(exists(engine, name) for name in names)


def test_other_labels_make_another_machine(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    first = only(terraform.create(site.variables(), Stop(60)))

    second = only(terraform.create(site.variables(labels={LABEL: "other", **THIS_RUN}), Stop(60)))

    assert first["id"] != second["id"]
    assert inspected(engine, second["id"])["Config"]["Labels"] == {LABEL: "other", **THIS_RUN}
    terraform.remove(Stop(60))


def test_a_machine_that_has_stopped_is_still_removed(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    outputs = only(terraform.create(site.variables(), Stop(60)))
    engine.containers.get(str(outputs["id"])).kill()

    terraform.remove(Stop(60))

    assert not exists(engine, site.name)


def test_a_machine_that_has_stopped_is_replaced_when_it_is_asked_for_again(
    site: Site, engine: docker.DockerClient
) -> None:
    terraform = site.terraform()
    first = only(terraform.create(site.variables(), Stop(60)))
    engine.containers.get(str(first["id"])).kill()

    second = only(terraform.create(site.variables(), Stop(60)))

    assert second["id"] != first["id"]
    assert inspected(engine, second["id"])["State"]["Running"]
    terraform.remove(Stop(60))


def test_a_machine_that_somebody_else_has_removed_is_no_trouble(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    outputs = only(terraform.create(site.variables(), Stop(60)))
    engine.containers.get(str(outputs["id"])).remove(force=True)

    terraform.remove(Stop(60))


def test_a_missing_image_is_told_in_the_engines_words(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()

    with pytest.raises(ProvisionFailed, match="terraform apply failed") as caught:
        terraform.create(site.variables(image="sha256:" + "0" * 64), Stop(60))

    assert "No such image" in caught.value.details
    assert "rpc error" not in caught.value.details


def test_a_machine_that_does_not_start_leaves_nothing(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    main = terraform.folder / "main.tf"
    main.write_text(main.read_text().replace('"/bin/sh"', '"no-such-program"'))

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create(site.variables(), Stop(60))

    assert "no-such-program" in caught.value.details
    assert not exists(engine, site.name)


def test_a_name_that_is_taken_leaves_its_owner_alone(site: Site, engine: docker.DockerClient) -> None:
    owner: Container = engine.containers.create(
        str(site.variables()["image"]),
        ["sleep", "infinity"],
        name=site.name,
        labels={LABEL: "somebody else", **THIS_RUN},
    )
    terraform = site.terraform()

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create(site.variables(), Stop(60))

    assert "already in use" in caught.value.details
    owner.reload()
    owner.remove()


def test_an_engine_that_is_away_is_told_without_raw_errors(make_site: MakeSite) -> None:
    site = make_site("unix:///nonexistent/docker.sock")
    terraform = site.terraform()

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create(site.variables(), Stop(60))

    assert "docker_network" in caught.value.details
    assert "rpc error" not in caught.value.details


def test_a_module_for_another_engine_is_refused(site: Site) -> None:
    terraform = site.terraform()

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create(site.variables(docker_host="tcp://elsewhere:2375"), Stop(60))

    assert "this provider serves another engine" in caught.value.details


def test_six_machines_at_once_do_not_disturb_each_other(site: Site, engine: docker.DockerClient) -> None:
    def one(number: int) -> str:
        terraform = site.new_terraform(f"module{number}")
        terraform.initialise(Stop(120))
        name = f"{site.name}-{number}"
        outputs = only(terraform.create(site.variables(name=name), Stop(120)))
        terraform.remove(Stop(120))
        return str(outputs["name"])

    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(one, range(6)))

    assert names == [f"{site.name}-{number}" for number in range(6)]
    assert not any(exists(engine, name) for name in names)


def test_terraform_killed_in_mid_apply_leaks_nothing(
    make_site: MakeSite, proxy: EngineProxy, engine: docker.DockerClient
) -> None:
    site = make_site(proxy.docker_host)
    terraform = site.terraform()
    proxy.hold(b"/start ")
    failures: list[ProvisionFailed] = []

    def create() -> None:
        try:
            terraform.create(site.variables(), Stop(60))
        except ProvisionFailed as error:
            failures.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    assert proxy.reached.wait(30)
    assert exists(engine, site.name)
    for pid in running_terraform(terraform.folder):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    proxy.release()

    assert "exit code -9" in failures[0].message
    assert gone(engine, site.name)


def test_a_provider_that_ends_in_mid_apply_leaks_nothing(
    make_site: MakeSite, proxy: EngineProxy, engine: docker.DockerClient
) -> None:
    """If the worker is killed, its provider ends too, and removes the container that it is creating."""
    site = make_site(proxy.docker_host)
    terraform = site.terraform()
    proxy.hold(b"/start ")
    with ThreadPoolExecutor(2) as pool:
        creation = pool.submit(terraform.create, site.variables(), Stop(60))
        assert proxy.reached.wait(30)

        closing = pool.submit(site.provider.close)
        with pytest.raises(ProvisionFailed):
            creation.result()
        proxy.release()
        closing.result()

    assert not exists(engine, site.name)


def test_an_engine_that_does_not_say_that_it_made_the_machine_leaves_none(
    make_site: MakeSite, proxy: EngineProxy, engine: docker.DockerClient
) -> None:
    site = make_site(proxy.docker_host)
    terraform = site.terraform()
    proxy.swallow_answer(b"/containers/create")

    with pytest.raises(ProvisionFailed):
        terraform.create(site.variables(), Stop(60))

    assert gone(engine, site.name)


@each_terraform
def test_what_is_made_when_a_cancel_comes_can_be_removed(
    make_site: MakeSite, proxy: EngineProxy, engine: docker.DockerClient, wheel: bool
) -> None:
    site = make_site(proxy.docker_host)
    terraform = site.terraform(wheel=wheel)
    proxy.hold(b"/start ")
    stop = Stop(60)
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(terraform.create, site.variables(), stop)
        assert proxy.reached.wait(30)
        stop.request(StopReason.CANCELLED)
        time.sleep(0.5)
        proxy.release()
        with pytest.raises(Stopped):
            creation.result()
    assert exists(engine, site.name)

    terraform.remove(Stop(60))

    assert not exists(engine, site.name)


def test_a_killed_provider_is_replaced_and_the_machine_is_still_known(site: Site, engine: docker.DockerClient) -> None:
    terraform = site.terraform()
    terraform.create(site.variables(), Stop(60))
    killed = provider_pid(site)
    os.kill(killed, signal.SIGKILL)
    assert ended(killed)
    with pytest.raises(ProvisionFailed):
        terraform.remove(Stop(60))

    site.terraform().remove(Stop(60))

    assert not exists(engine, site.name)

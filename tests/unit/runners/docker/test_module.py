"""What Terraform and Ansible are told of a Docker machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.images.resolver import Image, ImageResolver
from alts.runners.base import MachineRequest
from alts.runners.docker.composition import docker_settings
from alts.runners.docker.engine import Engine, Network
from alts.runners.docker.inventory import Inventory
from alts.runners.docker.module import DockerModule, provider_override
from alts.shared.errors import ImageUnavailable, ProvisionFailed
from alts.shared.models.platform import Platform
from tests.support.builders import TASK_ID, a_config, a_spec
from tests.support.checkout import ROOT

HOST = "unix:///nonexistent/docker.sock"
MODULE = ROOT / "resources" / "terraform" / "docker"
BRIDGE = Network("0", "bridge", {}, ("172.17.0.0/16",), {"com.docker.network.driver.mtu": "1450", "other": "x"})


class QuietEngine(Engine):
    """An amd64 engine with the default network only."""

    def architecture(self) -> str:
        return "amd64"

    def networks(self, labels: Mapping[str, str | None] | None = None) -> tuple[Network, ...]:
        return (BRIDGE,)


class QuietImages(ImageResolver):
    """Has every image."""

    def __init__(self) -> None:
        """Needs no engine."""

    def resolve(self, platform: Platform, *, stop: Stop, log: OutputSink) -> Image:
        return Image(platform.release.image, "sha256:0", "local")


def a_module(folder: Path, **changes: object) -> DockerModule:
    settings = docker_settings(a_config(docker_host=HOST, cache_folder=str(folder), **changes))
    engine = QuietEngine(HOST)
    inventory = Inventory(engine, worker="worker-id")
    return DockerModule(settings, engine, inventory, images=QuietImages(), provider=None)


def a_request(folder: Path, **changes: str) -> MachineRequest:
    return MachineRequest(a_spec(**changes).platform, TASK_ID, 3, folder)


def subnets(variables: Mapping[str, Any]) -> list[str]:
    return [machine["subnet"] for machine in variables["machines"].values()]


def silent(text: str) -> None:
    """A log that nobody reads."""


def test_the_module_gets_image_names_labels_and_limits(tmp_path: Path) -> None:
    module = a_module(tmp_path, instance_limits={"memory_mb": 256, "cpus": 0.5, "pids": 99})

    plan = module.plan([a_request(tmp_path)], stop=Stop(60), log=silent)

    [subnet] = subnets(plan.variables)
    assert subnet.startswith("10.213.")
    machine = {
        "hostname": "alts-00000000",
        "labels": {"alts.task": TASK_ID, "alts.attempt": "3", "alts.worker": "worker-id"},
        "subnet": subnet,
    }
    assert plan.variables == {
        "docker_host": HOST,
        "machines": {f"alts-{TASK_ID}-3": machine},
        "image": "sha256:0",
        "memory_mb": 256,
        "cpus": 0.5,
        "pids": 99,
        "network_options": {"com.docker.network.driver.mtu": "1450"},
    }
    assert plan.image == {
        "reference": "debian:12",
        "id": "sha256:0",
        "origin": "local",
        "architecture": "amd64",
        "emulated": "no",
    }


def test_without_a_pool_the_engine_chooses_the_subnet(tmp_path: Path) -> None:
    module = a_module(tmp_path, instance_network_pool=None)

    plan = module.plan([a_request(tmp_path)], stop=Stop(60), log=silent)

    assert subnets(plan.variables) == [""]


def test_machines_of_a_batch_have_networks_that_do_not_overlap(tmp_path: Path) -> None:
    module = a_module(tmp_path, instance_network_pool="10.213.7.0/24")
    requests = [replace(a_request(tmp_path), attempt=attempt) for attempt in range(4, 36)]

    plan = module.plan(requests, stop=Stop(60), log=silent)

    assert len(set(subnets(plan.variables))) == 32
    with pytest.raises(ProvisionFailed, match="is used up"):
        module.plan([*requests, a_request(tmp_path)], stop=Stop(60), log=silent)


def test_other_subnets_are_tried_only_if_one_was_taken(tmp_path: Path) -> None:
    module = a_module(tmp_path)
    machines = {"one": {"hostname": "one"}, "other": {"hostname": "other"}}

    other = module.instead({"machines": machines, "cpus": 1}, ProvisionFailed("no", details="Pool overlaps with one"))

    assert other is not None
    assert other["cpus"] == 1
    assert len(set(subnets(other))) == 2
    assert module.instead({}, ProvisionFailed("no", details="no space left on device")) is None


def test_another_architecture_needs_permission(tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="host is x86_64, not aarch64") as caught:
        a_module(tmp_path).plan([a_request(tmp_path, dist_arch="arm64")], stop=Stop(60), log=silent)

    assert not caught.value.retryable


def test_i686_runs_on_the_hosts_of_x86_64(tmp_path: Path) -> None:
    plan = a_module(tmp_path).plan([a_request(tmp_path, dist_arch="i686")], stop=Stop(60), log=silent)

    assert plan.image["emulated"] == "no"


def test_ansible_reaches_the_machine_through_its_engine(tmp_path: Path) -> None:
    assert a_module(tmp_path).connection({"id": "1", "name": "machine"}) == {
        "ansible_connection": "community.docker.docker_api",
        "ansible_host": "machine",
        "ansible_docker_docker_host": HOST,
    }


@pytest.mark.parametrize(("provider", "overridden"), [("embedded", {"resource"}), ("registry", {"terraform"})])
def test_the_provider_is_the_configured_one(tmp_path: Path, provider: str, overridden: set[str]) -> None:
    assert set(a_module(tmp_path, docker_provider=provider).override()) == overridden


def test_the_embedded_provider_is_asked_to_limit_processes() -> None:
    assert provider_override(None) == {"resource": {"docker_container": {"instance": {"pids_limit": "${var.pids}"}}}}


def test_the_registrys_provider_gets_its_version_and_nothing_that_it_does_not_know() -> None:
    wanted = {"source": "registry.terraform.io/kreuzwerker/docker", "version": "~> 3.6"}

    assert provider_override("~> 3.6") == {"terraform": {"required_providers": {"docker": wanted}}}
    assert "pids_limit" not in "".join(path.read_text() for path in MODULE.glob("*.tf"))


@pytest.mark.parametrize("denied", [["169.254.0.0/16"], []], ids=["denied", "nothing denied"])
def test_a_machine_must_be_sealed_if_a_network_is_denied(tmp_path: Path, denied: list[str]) -> None:
    # Nothing answers at the engine's address.
    module = a_module(tmp_path, instance_networks_denied=denied)

    if denied:
        with pytest.raises(ProvisionFailed, match="cannot be sealed"):
            module.seal(a_request(tmp_path), {"id": "1"})
    else:
        assert "could not be reached" in module.seal(a_request(tmp_path), {"id": "1"})

"""The Docker kind of machine: a container with a network of its own, made by resources/terraform/docker/."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.images.factory import Image, ImageResolver
from alts.images.prepared import PreparedImages
from alts.runners.base import MachineRequest
from alts.runners.docker.engine import Engine
from alts.runners.docker.inventory import Inventory
from alts.runners.docker.provider import ADDRESS
from alts.runners.docker.provider.process import ProviderProcess
from alts.runners.docker.seal import NoHelper, deny_networks
from alts.runners.docker.subnets import free_subnet
from alts.runners.terraform import MachinePlan
from alts.shared.config import InstanceLimits
from alts.shared.errors import ImageUnavailable, ProvisionFailed
from alts.shared.models.platform import Platform

log = logging.getLogger(__name__)

_MTU_OPTION = "com.docker.network.driver.mtu"
# Matches the engine's error for a subnet that overlaps another network.
_TAKEN = re.compile(r"overlap", re.IGNORECASE)

_BINFMT = Path("/proc/sys/fs/binfmt_misc")


@dataclass(frozen=True)
class DockerSettings:
    """The part of the configuration that Docker machines depend on."""

    docker_host: str
    """The engine's address, e.g. "unix:///var/run/docker.sock"."""
    limits: InstanceLimits
    network_pool: str | None
    """Pool for subnets, e.g. "10.213.0.0/16"; None lets the engine choose."""
    networks_denied: Sequence[str]
    """Networks that machines must not reach, e.g. "169.254.0.0/16"."""
    allow_emulation: bool
    provider_version: str | None
    """Constraint for the registry's provider, e.g. "~> 3.6"; None for the embedded one."""


def provider_override(version: str | None) -> Mapping[str, object]:
    """Return the override that chooses the module's provider: the registry's with a version, else the embedded one.

    The embedded one also limits the number of processes. The registry's has no attribute for that, so
    DockerModule.connect asks the engine.
    """
    if version is None:
        return {"resource": {"docker_container": {"instance": {"pids_limit": "${var.pids}"}}}}
    return {"terraform": {"required_providers": {"docker": {"source": ADDRESS, "version": version}}}}


def docker_connection(container: str, docker_host: str) -> Mapping[str, str]:
    """Return a container's variables in Ansible's inventory.

    community.docker.docker_api speaks to the engine itself: it needs neither a docker client on the worker nor ssh in
    the machine.
    """
    return {
        "ansible_connection": "community.docker.docker_api",
        "ansible_host": container,
        "ansible_docker_docker_host": docker_host,
    }


class DockerModule:
    """See alts.runners.terraform.MachineModule."""

    name = "docker"

    def __init__(
        self,
        settings: DockerSettings,
        engine: Engine,
        inventory: Inventory,
        *,
        images: ImageResolver,
        provider: ProviderProcess | None,
        prepared: PreparedImages | None = None,
    ) -> None:
        """`provider`: the embedded provider; None if Terraform fetches another. `prepared`: None for base images."""
        self._settings = settings
        self._engine = engine
        self._inventory = inventory
        self._images = images
        self._prepared = prepared
        self._provider = provider

    def plan(self, requests: Sequence[MachineRequest], *, stop: Stop, log: OutputSink) -> MachinePlan:
        platform = requests[0].platform
        emulated = self._emulated(platform)
        image = self._images.resolve(platform, stop=stop, log=log)
        prepared = self._prepared.get(platform, image, machines=len(requests)) if self._prepared else None
        limits = self._settings.limits
        machines: dict[str, Mapping[str, object]] = {
            request.name: {"hostname": f"alts-{request.task_id[:8]}", "labels": self._inventory.labels_of(request)}
            for request in requests
        }
        variables = {
            "docker_host": self._settings.docker_host,
            "image": prepared.id if prepared else image.id,
            "memory_mb": limits.memory_mb,
            "cpus": limits.cpus,
            "pids": limits.pids,
            **self._networks(machines),
        }
        described = _described(image, emulated=emulated)
        if prepared is None:
            return MachinePlan(variables, described)
        return MachinePlan(variables, {**described, "prepared": prepared.id}, prepared.fetched_at)

    def is_outdated(self, platform: Platform, image: Mapping[str, str]) -> bool:
        newest = self._prepared.newest(platform) if self._prepared else None
        return newest is not None and newest.id != image.get("prepared")

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> Mapping[str, object] | None:
        if not _TAKEN.search(error.details):
            return None
        # Another client took part of a subnet between our check and its creation.
        machines: Any = variables["machines"]
        return {**variables, **self._networks(machines)}

    def override(self) -> Mapping[str, object]:
        return provider_override(self._settings.provider_version)

    def environment(self, stop: Stop) -> Mapping[str, str]:
        return {} if self._provider is None else self._provider.environment(stop)

    def connect(self, machine: Mapping[str, str]) -> Instance:
        limits = self._settings.limits
        if self._provider is None:
            # The registry's provider has no attribute for the process limit.
            self._engine.limit_processes(machine["id"], pids=limits.pids)
        return self._engine.instance(machine["id"], name=machine["name"], disk_mb=limits.disk_mb)

    def connection(self, machine: Mapping[str, str]) -> Mapping[str, str]:
        return docker_connection(machine["name"], self._settings.docker_host)

    def seal(self, request: MachineRequest, machine: Mapping[str, str]) -> str:
        labels = self._inventory.labels_of(request)
        try:
            deny_networks(self._engine, machine["id"], self._settings.networks_denied, labels=labels)
        except (NoHelper, ProvisionFailed) as error:
            # A transient failure must not let a package reach denied networks.
            if self._settings.networks_denied and not isinstance(error, NoHelper):
                raise ProvisionFailed(
                    f"the machine's network cannot be sealed: {error}",
                    details=error.details,
                    resolution="if this engine never allows it, set instance_networks_denied: []",
                ) from error
            reason = f"{error}: {error.details}" if error.details else str(error)
            log.warning("machine not sealed", extra={"error": reason})
            return reason
        return ""

    def tools(self) -> Mapping[str, str]:
        return {"docker": self._engine.version()}

    def remove_by_label(self, request: MachineRequest) -> None:
        self._inventory.remove_attempt(request.task_id, request.attempt)

    def trouble(self) -> str:
        return self._engine.trouble()

    def close(self) -> None:
        if self._prepared is not None:
            self._prepared.close()

    def _networks(self, machines: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
        """Return the variables for networks without overlaps. Raises ProvisionFailed if the pool is exhausted."""
        networks = self._engine.networks()
        # The engine applies its MTU setting only to its default network. Without it, long packets get lost.
        default = next((network.options for network in networks if network.name == "bridge"), {})
        options = {name: value for name, value in default.items() if name == _MTU_OPTION}
        taken = [subnet for network in networks for subnet in network.subnets]
        chosen: dict[str, Mapping[str, object]] = {}
        for name, machine in machines.items():
            pool = self._settings.network_pool
            subnet = "" if pool is None else free_subnet(pool, taken)
            taken += [subnet] if subnet else []
            chosen[name] = {**machine, "subnet": subnet}
        return {"machines": chosen, "network_options": options}

    def _emulated(self, platform: Platform) -> bool:
        """Return whether it needs emulation. Raises ImageUnavailable if that is not allowed or not installed."""
        wanted = platform.host_architecture
        host = {"amd64": "x86_64", "arm64": "aarch64"}.get(self._engine.architecture())
        if wanted == host:
            return False
        if not self._settings.allow_emulation:
            raise ImageUnavailable(
                f"the Docker engine's host is {host}, not {wanted}",
                resolution="set allow_emulation: true, or run a worker on such a host",
                retryable=False,
            )
        # If binfmt_misc is not visible from here, the engine's host may still have it.
        if _BINFMT.joinpath("status").exists() and not (_BINFMT / f"qemu-{wanted}").exists():
            raise ImageUnavailable(
                f"this host has no emulator for {wanted}",
                resolution="apt-get install qemu-user-static binfmt-support",
                retryable=False,
            )
        return True


def _described(image: Image, *, emulated: bool) -> Mapping[str, str]:
    return {
        "reference": image.reference,
        "id": image.id,
        "origin": image.origin,
        "architecture": image.architecture,
        "emulated": "yes" if emulated else "no",
    }

"""Docker runner: machines as containers of a Docker engine."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.images.factory import Image, ImageResolver, image_resolver
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.provisioning.terraform.cli import find_terraform
from alts.provisioning.terraform.provider.process import ProviderProcess
from alts.runners.base import Machine, Order
from alts.runners.docker.build import DockerBuilds
from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import EngineFailed
from alts.runners.docker.seal import NoHelper, deny_networks
from alts.runners.docker.subnets import free_subnet
from alts.runners.terraform import FilesFor, Plan, TerraformedRunner
from alts.shared.config import Config, InstanceLimits
from alts.shared.errors import ImageUnavailable, ProvisionFailed
from alts.shared.network_rules import DEFAULT_RULES, NetworkRules

log = logging.getLogger(__name__)

TASK_LABEL = "alts.task"
ATTEMPT_LABEL = "alts.attempt"
WORKER_LABEL = "alts.worker"

_MTU_OPTION = "com.docker.network.driver.mtu"
# Matches the engine's error for a subnet that overlaps another network.
_TAKEN = re.compile(r"overlap", re.IGNORECASE)

_BINFMT = Path("/proc/sys/fs/binfmt_misc")


class DockerRunner(TerraformedRunner):
    """Runner for Docker containers. Labels identify its containers and networks even after a worker crash."""

    name = "docker"

    def __init__(
        self,
        *,
        engine: Engine,
        images: ImageResolver,
        provider: ProviderProcess | None,
        limits: InstanceLimits,
        network_pool: str | None,
        networks_denied: Sequence[str],
        allow_emulation: bool,
        worker: str,
        terraform: Path,
        docker_host: str,
        files_for: FilesFor,
        provider_version: str | None,
        networks: NetworkRules = DEFAULT_RULES,
    ) -> None:
        """`provider`: the embedded provider; None if Terraform fetches another. `worker`: value of the worker label.

        `network_pool`: pool for subnets, e.g. "10.213.0.0/16"; None lets the engine choose.
        `networks_denied`: networks that machines must not reach, e.g. "169.254.0.0/16".
        """
        super().__init__(
            terraform=terraform,
            docker_host=docker_host,
            files_for=files_for,
            provider_version=provider_version,
            networks=networks,
        )
        self._engine = engine
        self._images = images
        self._provider = provider
        self._limits = limits
        self._network_pool = network_pool
        self._networks_denied = networks_denied
        self._allow_emulation = allow_emulation
        self._worker = worker

    def plan(self, order: Order, *, stop: Stop, log: OutputSink) -> Plan:
        emulated = self._emulated(order)
        image = self._images.resolve(order.spec, stop=stop, log=log)
        name = f"alts-{order.task_id}-{order.attempt}"
        variables = {
            "docker_host": self._docker_host,
            "name": name,
            "hostname": f"alts-{order.task_id[:8]}",
            "image": image.id,
            "labels": self._labels(order),
            "memory_mb": self._limits.memory_mb,
            "cpus": self._limits.cpus,
            "pids": self._limits.pids,
            **self._network(),
        }
        return Plan(variables, _described(image, emulated=emulated))

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> Mapping[str, object] | None:
        # Another client took part of the subnet between our check and its creation.
        return {**variables, **self._network()} if _TAKEN.search(error.details) else None

    def _labels(self, order: Order) -> Mapping[str, str]:
        """Return the labels for all engine objects of an attempt."""
        return {TASK_LABEL: order.task_id, ATTEMPT_LABEL: str(order.attempt), WORKER_LABEL: self._worker}

    def _network(self) -> Mapping[str, object]:
        """Return the variables for a network without overlaps. Raises ProvisionFailed if the pool is exhausted."""
        networks = self._engine.networks()
        # The engine applies its MTU setting only to its default network. Without it, long packets get lost.
        default = next((network.options for network in networks if network.name == "bridge"), {})
        options = {name: value for name, value in default.items() if name == _MTU_OPTION}
        if self._network_pool is None:
            return {"subnet": "", "network_options": options}
        taken = [subnet for network in networks for subnet in network.subnets]
        return {"subnet": free_subnet(self._network_pool, taken), "network_options": options}

    def _emulated(self, order: Order) -> bool:
        """Return whether the task needs emulation. Raises ImageUnavailable if that is not allowed or not installed."""
        host = {"amd64": "x86_64", "arm64": "aarch64"}.get(self._engine.architecture())
        if order.spec.host_architecture == host:
            return False
        if not self._allow_emulation:
            raise ImageUnavailable(
                f"the Docker engine's host is {host}, not {order.spec.host_architecture}",
                resolution="allow_emulation: true",
                retryable=False,
            )
        # If binfmt_misc is not visible from here, the engine's host may still have it.
        if _BINFMT.joinpath("status").exists() and not (_BINFMT / f"qemu-{order.spec.host_architecture}").exists():
            raise ImageUnavailable(
                f"this host has no emulator for {order.spec.host_architecture}",
                resolution="apt-get install qemu-user-static binfmt-support",
                retryable=False,
            )
        return True

    def environment(self, stop: Stop) -> Mapping[str, str]:
        return {} if self._provider is None else self._provider.environment(stop)

    def connect(self, outputs: Mapping[str, object]) -> Instance:
        if self._provider is None:
            # The registry's provider has no attribute for the process limit.
            self._engine.limit_processes(str(outputs["id"]), pids=self._limits.pids)
        return self._engine.instance(str(outputs["id"]), name=str(outputs["name"]), disk_mb=self._limits.disk_mb)

    def seal(self, order: Order, outputs: Mapping[str, object]) -> str:
        try:
            deny_networks(self._engine, str(outputs["id"]), self._networks_denied, labels=self._labels(order))
        except (NoHelper, ProvisionFailed) as error:
            # A transient failure must not let a package reach denied networks.
            if self._networks_denied and not isinstance(error, NoHelper):
                raise ProvisionFailed(
                    f"the machine's network cannot be sealed: {error}",
                    details=error.details,
                    resolution="where this engine never lets it be, instance_networks_denied: []",
                ) from error
            reason = f"{error}: {error.details}" if error.details else str(error)
            task = {"task_id": order.task_id, "attempt": order.attempt}
            log.warning("machine not sealed", extra={**task, "error": reason})
            return reason
        return ""

    def tools(self) -> Mapping[str, str]:
        return {"docker": self._engine.version()}

    def remove_by_label(self, order: Order) -> None:
        self._remove({TASK_LABEL: order.task_id, ATTEMPT_LABEL: str(order.attempt)})

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        """See alts.runners.base.Runner."""
        return self._remove({TASK_LABEL: task_id}, below=below)

    def remove_all_of(self, worker: str) -> int:
        """See alts.runners.base.Runner."""
        return self._remove({WORKER_LABEL: worker})

    def machines(self) -> Iterable[Machine]:
        """See alts.runners.base.Runner. A network without its machine also counts as one."""
        ours: Mapping[str, str | None] = {TASK_LABEL: None}
        found = [container.labels for container in self._engine.containers(ours)]
        found += [network.labels for network in self._engine.networks(ours)]
        for labels in found:
            # Labels without an attempt number are not ours.
            if attempt := _attempt_of(labels):
                yield Machine(labels.get(WORKER_LABEL, ""), labels[TASK_LABEL], attempt)

    def remove(self, task_id: str, attempt: int) -> int:
        """See alts.runners.base.Runner."""
        return self._remove({TASK_LABEL: task_id, ATTEMPT_LABEL: str(attempt)})

    def trouble(self) -> str:
        """See alts.runners.base.Runner."""
        return self._engine.trouble()

    def folders(self) -> Iterable[Path]:
        """See alts.runners.base.Runner. Empty if the engine is remote or does not answer."""
        try:
            root = self._engine.data_root()
        except EngineFailed:
            return ()
        return (root,) if root is not None and root.is_dir() else ()

    def close(self) -> None:
        if self._provider is not None:
            self._provider.close()
        self._engine.close()

    def _remove(self, labels: Mapping[str, str], *, below: int | None = None) -> int:
        """Remove the machines with these labels, then their networks; only attempts before `below`, if given.

        Returns the number of machines.
        """
        machines, networks = self._engine.containers(labels), self._engine.networks(labels)
        doomed = [machine for machine in machines if below is None or _attempt_of(machine.labels) < below]
        for machine in doomed:
            self._engine.remove_container(machine.id)
        for network in networks:
            if below is None or _attempt_of(network.labels) < below:
                self._engine.remove_network(network.id)
        return len(doomed)


def _described(image: Image, *, emulated: bool) -> Mapping[str, str]:
    return {
        "reference": image.reference,
        "id": image.id,
        "origin": image.origin,
        "architecture": image.architecture,
        "emulated": "yes" if emulated else "no",
    }


def _attempt_of(labels: Mapping[str, str]) -> int:
    """Return the attempt number; 0 for a foreign label, which belongs to no live attempt."""
    attempt = labels.get(ATTEMPT_LABEL, "")
    return int(attempt) if attempt.isdecimal() else 0


def docker_runner(config: Config, *, worker: str, folder: Path) -> DockerRunner:
    """The runner that the configuration describes; `folder` holds its provider's socket and log.

    Raises ConfigurationError where there is no terraform.
    """
    engine = Engine(config.docker_host)
    embedded = config.docker_provider == "embedded"
    return DockerRunner(
        engine=engine,
        images=image_resolver(config, engine, DockerBuilds(engine)),
        provider=ProviderProcess(folder, docker_host=config.docker_host) if embedded else None,
        limits=config.instance_limits,
        network_pool=config.instance_network_pool,
        networks_denied=config.instance_networks_denied,
        allow_emulation=config.allow_emulation,
        worker=worker,
        terraform=find_terraform(config.terraform, folder=folder),
        docker_host=config.docker_host,
        files_for=lambda spec: PACKAGE_MANAGERS[spec.release.tool].files(spec),
        provider_version=None if embedded else config.docker_provider_version,
        networks=config.repository_networks,
    )

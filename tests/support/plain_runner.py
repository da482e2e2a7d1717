"""Machines like those of the Terraform module, made by the engine directly: seconds faster, and without a provider.

They are for tests of the inside of a machine. Other tests check Terraform, Ansible, limits and seals.
tests/machines/test_plain_runner.py compares a machine of each kind.
"""

from __future__ import annotations

import io
import ipaddress
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool, LogConfig

from alts.core.instance import InstanceFile
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.host.download import download
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.provisioning.signing_keys import with_keys
from alts.runners.base import MachineRequest, Order, Provisioned
from alts.runners.docker.composition import docker_parts, runner_of
from alts.runners.docker.module import DockerModule
from alts.runners.docker.runner import DockerRunner
from alts.shared.config import Config
from alts.shared.errors import ProvisionFailed
from alts.shared.models.distributions import Tool
from tests.support.machine import FIRST_PROCESS

_SUBNETS = 5  # attempts at a subnet that no other run takes at the same moment


@dataclass(frozen=True)
class PlainRunner:
    """Makes machines itself.

    The real runner chooses image, name, labels and limits, runs commands and removes machines.
    """

    real: DockerRunner
    module: DockerModule
    config: Config
    image: str = ""
    """Image of a machine that continues from another one; empty for the distribution's image."""
    apt_files: Sequence[InstanceFile] = ()
    """Files for machines with apt, in addition to those of the service."""
    sealed: bool = False
    """Whether to deny the machine the networks that the configuration denies. It takes half a second."""

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        """See alts.runners.base.Runner."""
        plan = self.module.plan(request, stop=stop, log=log)
        variables = {**plan.variables, **({"image": self.image} if self.image else {})}
        client = docker.DockerClient(base_url=self.config.docker_host)
        try:
            outputs = self._make(client, variables)
            not_sealed = self.module.seal(request, outputs) if self.sealed else "not asked for"
            image = {**plan.image, "sealed": "no" if not_sealed else "yes"}
            yield Provisioned(instance=self.module.connect(outputs), image=image, tools=self.module.tools())
        finally:
            client.close()
            self.real.remove(request.task_id, request.attempt)

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        """See alts.runners.base.Runner."""
        if not self.image:
            with closing(docker.DockerClient(base_url=self.config.docker_host)) as client:
                client.containers.get(made.instance.name).put_archive("/", _archive(self._files(order, stop)))
        return made

    def __getattr__(self, name: str) -> Any:
        # All other attributes of the protocol are the runner's own.
        return getattr(self.real, name)

    def _files(self, order: Order, stop: Stop) -> Iterator[InstanceFile]:
        def fetch(url: str, fetch_stop: Stop) -> bytes:
            return download(url, stop=fetch_stop, rules=self.config.repository_networks)

        tool = order.spec.platform.release.tool
        yield from PACKAGE_MANAGERS[tool].files(with_keys(order.spec, stop=stop, fetch=fetch))
        if tool is Tool.APT:
            yield from self.apt_files

    def _make(self, client: docker.DockerClient, variables: Mapping[str, Any]) -> dict[str, str]:
        for _ in range(_SUBNETS):
            try:
                _network(client, variables)
                break
            except APIError as error:
                other = self.module.instead(variables, ProvisionFailed("no network", details=str(error)))
                if other is None:
                    raise
                variables = other
        container = client.containers.run(
            variables["image"],
            ["/bin/sh", "-c", FIRST_PROCESS],
            name=variables["name"],
            hostname=variables["hostname"],
            labels=variables["labels"],
            network=variables["name"],
            security_opt=["no-new-privileges"],
            cap_drop=["CAP_NET_RAW"],
            mem_limit=f"{variables['memory_mb']}m",
            memswap_limit=f"{variables['memory_mb']}m",
            nano_cpus=int(variables["cpus"] * 1e9),
            pids_limit=variables["pids"],
            shm_size="64m",
            log_config=LogConfig(type="none"),
            detach=True,
        )
        return {"id": str(container.id), "name": str(container.name)}


def _network(client: docker.DockerClient, variables: Mapping[str, Any]) -> None:
    subnet = variables["subnet"]
    pools = [IPAMPool(subnet=subnet, gateway=str(next(ipaddress.ip_network(subnet).hosts())))] if subnet else []
    client.networks.create(
        variables["name"],
        driver="bridge",
        options=dict(variables["network_options"]),
        labels=variables["labels"],
        ipam=IPAMConfig(pool_configs=pools),
    )


def _archive(files: Iterator[InstanceFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            content = file.content.encode()
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size, member.mode = len(content), int(file.mode, 8)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def plain_runner(
    config: Config, *, worker: str, folder: Path, apt_files: Sequence[InstanceFile] = (), sealed: bool = False
) -> PlainRunner:
    """Make the runner. The signature is that of a maker in alts.runners.registry."""
    parts = docker_parts(config, worker=worker, folder=folder)
    real = runner_of(parts, config, folder=folder)
    return PlainRunner(real, parts.module, config, apt_files=apt_files, sealed=sealed)

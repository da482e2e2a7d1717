"""Machines like those of the Terraform module, made by the engine directly: seconds faster, and without a provider.

They are for tests of the inside of a machine. Other tests check Terraform, Ansible, limits and seals.
tests/machines/test_plain_runner.py compares a machine of each kind.

A network costs the engine as much as a container: a bridge, and a dozen runs of iptables. So all machines of a runner
share one. The engine forwards nothing between them, as between machines with networks of their own.
"""

from __future__ import annotations

import ipaddress
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
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
from alts.runners.docker.inventory import WORKER_LABEL
from alts.runners.docker.module import DockerModule
from alts.runners.docker.runner import DockerRunner
from alts.runners.terraform import FilesFor
from alts.shared.config import Config
from alts.shared.errors import ProvisionFailed
from alts.shared.models.distributions import Tool
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from tests.support.machine import FIRST_PROCESS

_SUBNETS = 5  # attempts at a subnet that no other run takes at the same moment
_SHARED_PREFIX = 24
"""Prefix length of a shared network's subnet. A used address is taken again after all others."""
# The engine forwards nothing between machines of one network (docs.docker.com, "Bridge network driver").
_ISOLATED = {"com.docker.network.bridge.enable_icc": "false"}


@dataclass
class SharedNetwork:
    """The network of all machines of a runner. The first machine makes it, and close() removes it."""

    name: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def joined(self, client: docker.DockerClient, module: DockerModule, variables: Mapping[str, Any]) -> str:
        """Return its name. `variables` are those of the machine that joins."""
        with self._lock:
            if not self.name:
                ours = {
                    **variables,
                    "name": f"alts-shared-{uuid.uuid4()}",
                    "labels": {WORKER_LABEL: variables["labels"][WORKER_LABEL]},
                }
                self.name = _network(client, module, ours, shared=True)
            return self.name

    def close(self, client: docker.DockerClient) -> None:
        with self._lock:
            if self.name:
                client.networks.get(self.name).remove()
                self.name = ""


@dataclass(frozen=True)
class PlainRunner:
    """Makes machines itself.

    The real runner chooses image, name, labels and limits, runs commands and removes machines.
    """

    real: DockerRunner
    module: DockerModule
    config: Config
    network: SharedNetwork
    """Copies of a runner share it."""
    image: str = ""
    """Image of a machine that continues from another one; empty for the distribution's image."""
    files_for: FilesFor = lambda platform, repositories: ()
    sealed: bool = False
    """Whether to deny the machine the networks that the configuration denies.

    A sealed machine has a network of its own: the seal denies it the gateway. It takes a second.
    """

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        """See alts.runners.base.Runner."""
        plan = self.module.plan((request,), stop=stop, log=log)
        variables = _flat(plan.variables, {"image": self.image} if self.image else {})
        client = docker.DockerClient(base_url=self.config.docker_host)
        try:
            outputs = self._make(client, variables)
            not_sealed = self.module.seal(request, outputs) if self.sealed else "not asked for"
            image = {**plan.image, "sealed": "no" if not_sealed else "yes"}
            with closing(self.module.connect(outputs)) as instance:
                yield Provisioned(
                    instance=instance,
                    image=image,
                    lists_fetched_at=plan.lists_fetched_at,
                    tools=self.module.tools(),
                )
        finally:
            client.close()
            self.real.remove(request.task_id, request.attempt)

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        """See alts.runners.base.Runner."""
        if not self.image:
            with closing(docker.APIClient(self.config.docker_host, version="auto")) as client:
                first_process = client.inspect_container(made.instance.name)["State"]["Pid"]
            # An upload costs the engine a tenth of a processor second. This process runs as root on the engine's host.
            with _opened(f"/proc/{first_process}/root/", None) as root:
                for file in self._files(order, stop):
                    _write(root, file)
        return made

    def close(self) -> None:
        """See alts.runners.base.Runner."""
        with closing(docker.DockerClient(base_url=self.config.docker_host)) as client:
            self.network.close(client)
        self.real.close()

    def __getattr__(self, name: str) -> Any:
        # All other attributes of the protocol are the runner's own.
        return getattr(self.real, name)

    def _files(self, order: Order, stop: Stop) -> Sequence[InstanceFile]:
        def fetch(url: str, fetch_stop: Stop) -> bytes:
            return download(url, stop=fetch_stop, rules=self.config.repository_networks)

        spec = with_keys(order.spec, stop=stop, fetch=fetch)
        return self.files_for(spec.platform, spec.repositories)

    def _make(self, client: docker.DockerClient, variables: Mapping[str, Any]) -> dict[str, str]:
        if self.sealed:
            network = _network(client, self.module, variables)
        else:
            network = self.network.joined(client, self.module, variables)
        container = client.containers.run(
            variables["image"],
            ["/bin/sh", "-c", FIRST_PROCESS],
            name=variables["name"],
            hostname=variables["hostname"],
            labels=variables["labels"],
            network=network,
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


def _network(
    client: docker.DockerClient, module: DockerModule, variables: Mapping[str, Any], *, shared: bool = False
) -> str:
    """Make a network for one machine, or for all machines of a runner. Returns its name."""
    for _ in range(_SUBNETS):
        options = {**variables["network_options"], **(_ISOLATED if shared else {})}
        pools = []
        if variables["subnet"]:
            subnet = ipaddress.ip_network(variables["subnet"])
            subnet = subnet.supernet(new_prefix=_SHARED_PREFIX) if shared else subnet
            pools = [IPAMPool(subnet=str(subnet), gateway=str(next(subnet.hosts())))]
        ipam = IPAMConfig(pool_configs=pools)
        try:
            client.networks.create(
                variables["name"], driver="bridge", options=options, labels=variables["labels"], ipam=ipam
            )
            return str(variables["name"])
        except APIError as error:
            trouble = ProvisionFailed("no network", details=str(error))
            other = module.instead({"machines": {variables["name"]: variables}}, trouble)
            if other is None:
                raise
            variables = _flat(other, {})
    raise trouble


def _flat(variables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a single machine beside those that all machines share."""
    [(name, machine)] = variables["machines"].items()
    return {**variables, **machine, **changes, "name": name}


@contextmanager
def _opened(name: str, folder: int | None) -> Iterator[int]:
    """Open a folder, in another one if given. A link in place of it would lead out of the machine."""
    follow = 0 if folder is None else os.O_NOFOLLOW
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _write(root: int, file: InstanceFile) -> None:
    *folders, name = PurePosixPath(file.path.lstrip("/")).parts
    with ExitStack() as stack:
        at = root
        for folder in folders:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=at)
            at = stack.enter_context(_opened(folder, at))
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, how, 0o600, dir_fd=at), "w", encoding="utf-8") as written:
            written.write(file.content)
            os.fchmod(written.fileno(), int(file.mode, 8))


def plain_runner(
    config: Config, *, worker: str, folder: Path, apt_files: Sequence[InstanceFile] = (), sealed: bool = False
) -> PlainRunner:
    """Make the runner. The signature is that of a maker in alts.runners.registry.

    `apt_files`: files for machines with apt, in addition to those of the service.
    """
    parts = docker_parts(config, worker=worker, folder=folder, files_for=partial(_files_for, apt_files))
    real = runner_of(parts, config, folder=folder)
    return PlainRunner(real, parts.module, config, SharedNetwork(), files_for=parts.files_for, sealed=sealed)


def _files_for(
    apt_files: Sequence[InstanceFile], platform: Platform, repositories: Sequence[Repository]
) -> Sequence[InstanceFile]:
    """Return the files of a machine's package manager. `apt_files`: more files for machines with apt."""
    tool = platform.release.tool
    files = PACKAGE_MANAGERS[tool].files(platform, repositories)
    if tool is not Tool.APT or not apt_files:
        return files
    # apt spends a third of a second on the signatures of each suite.
    sources = f"deb http://deb.debian.org/debian {platform.release.codename} main\n"
    return (*files, *apt_files, InstanceFile("/etc/apt/sources.list", sources))

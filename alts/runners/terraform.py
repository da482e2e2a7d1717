"""Machines of a Terraform module: create, prepare with Ansible, destroy."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from alts.core.instance import Instance, InstanceFile, MachineRuined
from alts.core.output import OutputSink
from alts.core.resources import resource
from alts.core.stop import Stop, Stopped, StopReason
from alts.host.download import download
from alts.provisioning.ansible import prepare_variables, run_playbook
from alts.provisioning.machine_files import write_files
from alts.provisioning.repository_hosts import check_hosts
from alts.provisioning.signing_keys import with_keys
from alts.provisioning.terraform.cli import Terraform, write_override
from alts.runners.base import MachineRequest, Order, Provisioned
from alts.shared.errors import InfrastructureError, InstanceLost, ProvisionFailed
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec
from alts.shared.network_rules import DEFAULT_RULES, NetworkRules

log = logging.getLogger(__name__)

# Seconds. Destroying a machine has its own limit, as it must work after the task's deadline.
REMOVE_TIMEOUT = 120.0

_OTHER_VARIABLES = 3  # retries with newly chosen variables

FilesFor = Callable[[Platform, Sequence[Repository]], Sequence[InstanceFile]]
"""Returns the settings that a fresh machine of a platform needs, and the files of a task's repositories."""


@dataclass(frozen=True)
class MachinePlan:
    """Terraform variables and image of machines."""

    variables: Mapping[str, object]
    image: Mapping[str, str]
    lists_fetched_at: datetime | None = None
    """See alts.runners.base.Provisioned."""


class MachineModule(Protocol):
    """One kind of machine: a Terraform module, and how to reach the machines that it makes."""

    @property
    def name(self) -> str:
        """Name of the module's folder, resources/terraform/<name>/."""
        ...

    def plan(self, requests: Sequence[MachineRequest], *, stop: Stop, log: OutputSink) -> MachinePlan:
        """Choose the image and the variables of machines of one platform. Raises ImageUnavailable or Stopped."""
        ...

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> Mapping[str, object] | None:
        """Return other variables to retry with after a transient refusal; None for no retry."""

    def override(self) -> Mapping[str, object]:
        """Return what to merge into the module, see alts.provisioning.terraform.cli.write_override."""
        ...

    def environment(self, stop: Stop) -> Mapping[str, str]:
        """Return environment variables for Terraform to find the provider. Raises InfrastructureError or Stopped."""
        ...

    def connect(self, machine: Mapping[str, str]) -> Instance:
        """Return the machine that the module's output describes, with all limits set. Raises ProvisionFailed."""
        ...

    def connection(self, machine: Mapping[str, str]) -> Mapping[str, str]:
        """Return the machine's variables in Ansible's inventory, e.g. {"ansible_connection": ...}."""
        ...

    def seal(self, request: MachineRequest, machine: Mapping[str, str]) -> str:
        """Block the machine's access to denied networks. Returns why it is not sealed; empty if it is.

        `machine`: the module's output for it. Raises ProvisionFailed if sealing is mandatory and failed.
        """
        ...

    def tools(self) -> Mapping[str, str]:
        """Return versions of the machine's platform, e.g. {"docker": "20.10.24"}."""
        ...

    def remove_by_label(self, request: MachineRequest) -> None:
        """Remove objects that Terraform has lost track of. Raises InfrastructureError."""

    def is_outdated(self, platform: Platform, image: Mapping[str, str]) -> bool:
        """See alts.runners.base.BatchRunner. `image`: of the machine's plan."""
        ...

    def trouble(self) -> str:
        """See alts.runners.base.Runner."""
        ...

    def close(self) -> None:
        """End what goes on in the background."""
        ...


class TerraformMachines:
    """The life cycle of a module's machines."""

    def __init__(
        self, module: MachineModule, *, terraform: Path, files_for: FilesFor, networks: NetworkRules = DEFAULT_RULES
    ) -> None:
        self._module = module
        self._terraform = terraform
        self._files_for = files_for
        self._networks = networks

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        """See alts.runners.base.Runner."""
        check_hosts(spec, self._networks, stop=stop)

    @contextmanager
    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        """See alts.runners.base.Runner."""
        plan = self._module.plan((request,), stop=stop, log=log)
        folder = self._new_folder(request.work_folder)
        try:
            # Sealing and preparing are independent of each other: both go on at once. Leaving waits for both.
            with ThreadPoolExecutor(1, thread_name_prefix="seal") as pool:
                tools, machines = self._create(self._command(folder, log, stop), plan.variables, stop)
                machine = machines[request.name]
                sealing = pool.submit(copy_context().run, self._module.seal, request, machine)
                with closing(self._connect(machine)) as instance:
                    yield Provisioned(
                        instance=instance,
                        image=plan.image,
                        lists_fetched_at=plan.lists_fetched_at,
                        tools=tools,
                        connection=self._module.connection(machine),
                        not_sealed=sealing.result,
                    )
        finally:
            hurried = stop.reason not in (None, StopReason.DEADLINE)
            if not (hurried and self._destroy_at_once(request)):
                self._destroy(request, folder, log)

    def make_ready(
        self, requests: Sequence[MachineRequest], *, folder: Path, stop: Stop, log: OutputSink
    ) -> Sequence[Provisioned]:
        """See alts.runners.base.BatchRunner."""
        plan = self._module.plan(requests, stop=stop, log=log)
        files = tuple(self._files_for(requests[0].platform, ()))
        with ExitStack() as undo:
            for request in requests:
                undo.callback(self._destroy_at_once, request)
            terraform = self._command(self._new_folder(folder), log, stop)
            tools, machines = self._create(terraform, plan.variables, stop)
            made = [machines[request.name] for request in requests]
            with ThreadPoolExecutor(len(requests), thread_name_prefix="seal") as pool:
                seals = [pool.submit(self._module.seal, *pair) for pair in zip(requests, made, strict=True)]
                connections = {one["name"]: self._module.connection(one) for one in made}
                version = self._write(files, connections, folder=folder, stop=stop, log=log)
            for seal in seals:
                seal.result()
            ready = tuple(
                Provisioned(
                    instance=self._connect(machine),
                    image=plan.image,
                    lists_fetched_at=plan.lists_fetched_at,
                    tools={**tools, "ansible": version},
                    files=files,
                    not_sealed=seal.result,
                )
                for machine, seal in zip(made, seals, strict=True)
            )
            undo.pop_all()
        return ready

    def is_outdated(self, request: MachineRequest, made: Provisioned) -> bool:
        """See alts.runners.base.BatchRunner."""
        return self._module.is_outdated(request.platform, made.image)

    def close(self) -> None:
        """See alts.runners.base.Runner."""
        self._module.close()

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        """See alts.runners.base.Runner."""
        spec = with_keys(order.spec, stop=stop, fetch=self._fetch)
        files = self._files_for(spec.platform, spec.repositories)
        tools = made.tools
        try:
            if made.files:
                # Ansible, which takes a second to start, has prepared it for its platform.
                write_files(made.instance, [file for file in files if file not in made.files], stop=stop)
            else:
                hosts = {"instance": made.connection}
                version = self._write(files, hosts, folder=order.work_folder, stop=stop, log=log)
                tools = {**tools, "ansible": version}
            not_sealed = made.not_sealed()
        except ProvisionFailed as error:
            lost = self._blaming_the_engine(error) or self._blaming_the_machine(error, made.instance)
            raise (lost or error) from error.__cause__
        if not_sealed:
            log(f"the machine's network is not sealed: {not_sealed}\n")
        return replace(made, image={**made.image, "sealed": "no" if not_sealed else "yes"}, tools=tools)

    def _new_folder(self, work_folder: Path) -> Path:
        folder = work_folder / "terraform"
        shutil.copytree(resource("terraform", self._module.name), folder)
        write_override(folder, self._module.override())
        return folder

    def _write(
        self,
        files: Sequence[InstanceFile],
        hosts: Mapping[str, Mapping[str, str]],
        *,
        folder: Path,
        stop: Stop,
        log: OutputSink,
    ) -> str:
        """Write the files into all machines. Returns Ansible's version."""
        return run_playbook(
            resource("ansible", "prepare.yml"),
            hosts=hosts,
            variables=prepare_variables(files),
            folder=folder,
            stop=stop,
            sink=log,
        )

    def _create(
        self, terraform: Terraform, variables: Mapping[str, object], stop: Stop
    ) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
        """Return the versions of the tools, and the module's output of each machine by its name."""
        try:
            tools = {"terraform": terraform.version(stop), **self._module.tools()}
            terraform.initialise(stop)
            outputs = self._apply(terraform, variables, stop)
        except ProvisionFailed as error:
            raise (self._blaming_the_engine(error) or error) from error.__cause__
        machines: Any = outputs["machines"]
        return tools, machines

    def _connect(self, machine: Mapping[str, str]) -> Instance:
        try:
            return self._module.connect(machine)
        except ProvisionFailed as error:
            lost = InstanceLost(f"the machine was lost while it was being prepared: {error}", details=error.details)
            raise (self._blaming_the_engine(error) or lost) from error

    def _blaming_the_engine(self, error: ProvisionFailed) -> InfrastructureError | None:
        """Return the error that replaces a tool's failure if the engine is down; None if it answers."""
        trouble = self._module.trouble()
        if not trouble:
            return None
        return ProvisionFailed(f"while the machine was being prepared: {trouble}", details=_said(error))

    def _blaming_the_machine(self, error: ProvisionFailed, instance: Instance) -> InfrastructureError | None:
        """Return the error that replaces a tool's failure if the machine is lost; None if it is alive."""
        try:
            instance.check()
        except (InfrastructureError, MachineRuined) as lost:
            return InstanceLost(f"the machine was lost while it was being prepared: {lost}", details=_said(error))
        return None

    def _apply(self, terraform: Terraform, variables: Mapping[str, object], stop: Stop) -> Mapping[str, object]:
        for _ in range(_OTHER_VARIABLES):
            try:
                return terraform.create(variables, stop)
            except ProvisionFailed as error:
                other = self._module.instead(variables, error)
                if other is None:
                    raise
                variables = other
        return terraform.create(variables, stop)

    def _fetch(self, url: str, stop: Stop) -> bytes:
        return download(url, stop=stop, rules=self._networks)

    def _command(self, folder: Path, log: OutputSink, stop: Stop) -> Terraform:
        # Uses the current environment: the provider may have restarted since the machine was made.
        return Terraform(folder, executable=self._terraform, environment=self._module.environment(stop), sink=log)

    def _destroy_at_once(self, request: MachineRequest) -> bool:
        """Destroy without terraform, as the caller waits. Its state goes with the work folder. Returns success."""
        try:
            self._module.remove_by_label(request)
        except InfrastructureError as error:
            log.warning("machine not removed at once", extra={"error": str(error)})
            return False
        return True

    def _destroy(self, request: MachineRequest, folder: Path, sink: OutputSink) -> None:
        """Destroy the machine. Failures are logged and do not change the verdict."""
        try:
            stop = Stop(REMOVE_TIMEOUT)
            self._command(folder, sink, stop).remove(stop)
        except (InfrastructureError, Stopped, OSError) as error:
            details = getattr(error, "details", "")
            log.warning("terraform destroy failed", extra={"error": str(error), "details": details})
        # Even after a successful destroy: an interrupted create may be missing from the state.
        try:
            self._module.remove_by_label(request)
        except InfrastructureError as error:
            log.warning("machine not removed", extra={"error": str(error)})


def _said(error: InfrastructureError) -> str:
    return f"{error}\n{error.details}".strip()

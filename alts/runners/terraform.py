"""Base runner for Terraform machines: create, prepare with Ansible, destroy."""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alts.core.instance import Instance, InstanceFile, MachineRuined
from alts.core.output import OutputSink
from alts.core.resources import resource
from alts.core.stop import Stop, Stopped, StopReason
from alts.host.download import download
from alts.provisioning.ansible import prepare_variables, run_playbook
from alts.provisioning.repository_hosts import check_hosts
from alts.provisioning.signing_keys import with_keys
from alts.provisioning.terraform.cli import Terraform, write_provider_override
from alts.runners.base import Order, Provisioned
from alts.shared.errors import InfrastructureError, InstanceLost, ProvisionFailed
from alts.shared.models.task_spec import TaskSpec
from alts.shared.network_rules import DEFAULT_RULES, NetworkRules

log = logging.getLogger(__name__)

# Seconds. Destroying a machine has its own limit, as it must work after the task's deadline.
REMOVE_TIMEOUT = 120.0

_OTHER_VARIABLES = 3  # retries with newly chosen variables

FilesFor = Callable[[TaskSpec], Sequence[InstanceFile]]
"""Returns the repository and settings files that a fresh machine needs for a task."""


@dataclass(frozen=True)
class Plan:
    """Terraform variables and image of a machine."""

    variables: Mapping[str, object]
    image: Mapping[str, str]


class TerraformedRunner(ABC):
    """Runner whose machines come from one Terraform module, resources/terraform/<name>/."""

    name: str
    """Name of the module and of the runner in the configuration."""

    def __init__(
        self,
        *,
        terraform: Path,
        docker_host: str,
        files_for: FilesFor,
        provider_version: str | None,
        networks: NetworkRules = DEFAULT_RULES,
    ) -> None:
        """`provider_version`: constraint for the registry's provider, e.g. "~> 3.6"; None if embedded."""
        self._networks = networks
        self._terraform = terraform
        self._docker_host = docker_host
        self._files_for = files_for
        self._provider_version = provider_version

    @abstractmethod
    def plan(self, order: Order, *, stop: Stop, log: OutputSink) -> Plan:
        """Choose the image and the variables. Raises ImageUnavailable or Stopped."""

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> Mapping[str, object] | None:  # noqa: ARG002
        """Return other variables to retry with after a transient refusal; None for no retry."""
        return None

    @abstractmethod
    def environment(self, stop: Stop) -> Mapping[str, str]:
        """Return environment variables for Terraform to find the provider. Raises InfrastructureError or Stopped."""

    @abstractmethod
    def connect(self, outputs: Mapping[str, object]) -> Instance:
        """Return the machine that the module's outputs describe, with all limits set. Raises ProvisionFailed."""

    @abstractmethod
    def seal(self, order: Order, outputs: Mapping[str, object]) -> str:
        """Block the machine's access to denied networks. Returns why it is not sealed; empty if it is.

        Raises ProvisionFailed if sealing is mandatory and failed.
        """

    @abstractmethod
    def tools(self) -> Mapping[str, str]:
        """Return versions of the machine's platform, e.g. {"docker": "20.10.24"}."""

    @abstractmethod
    def remove_by_label(self, order: Order) -> None:
        """Remove objects that Terraform has lost track of. Raises InfrastructureError."""

    @abstractmethod
    def trouble(self) -> str:
        """See alts.runners.base.Runner."""

    @contextmanager
    def provision(self, order: Order, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
        """See alts.runners.base.Runner."""
        check_hosts(order.spec, self._networks, stop=stop)
        plan = self.plan(order, stop=stop, log=log)
        folder = order.work_folder / "terraform"
        shutil.copytree(resource("terraform", self.name), folder)
        write_provider_override(folder, self._provider_version)
        try:
            yield self._make(order, plan, self._module(folder, log, stop), stop=stop, log=log)
        finally:
            hurried = stop.reason not in (None, StopReason.DEADLINE)
            if not (hurried and self._destroy_at_once(order)):
                self._destroy(order, folder, log)

    def _make(self, order: Order, plan: Plan, terraform: Terraform, *, stop: Stop, log: OutputSink) -> Provisioned:
        try:
            tools = {"terraform": terraform.version(stop), **self.tools()}
            terraform.initialise(stop)
            outputs = self._create(terraform, plan.variables, stop)
        except ProvisionFailed as error:
            raise (self._blaming_the_engine(error) or error) from error.__cause__
        try:
            not_sealed, tools["ansible"] = self._prepare(order, outputs, stop=stop, log=log)
        except ProvisionFailed as error:
            lost = self._blaming_the_engine(error) or self._blaming_the_machine(error, outputs)
            raise (lost or error) from error.__cause__
        if not_sealed:
            log(f"the machine's network is not sealed: {not_sealed}\n")
        image = {**plan.image, "sealed": "no" if not_sealed else "yes"}
        return Provisioned(instance=self.connect(outputs), image=image, tools=tools)

    def _prepare(self, order: Order, outputs: Mapping[str, object], *, stop: Stop, log: OutputSink) -> tuple[str, str]:
        """Seal the machine and bring it the task's files; return why it is not sealed, and Ansible's version."""
        # In parallel: the two are independent, and both must finish before anything else runs.
        with ThreadPoolExecutor(1) as pool:
            sealing = pool.submit(self.seal, order, outputs)
            version = run_playbook(
                resource("ansible", "prepare.yml"),
                container=str(outputs["name"]),
                docker_host=self._docker_host,
                variables=prepare_variables(self._files_for(with_keys(order.spec, stop=stop, fetch=self._fetch))),
                folder=order.work_folder,
                stop=stop,
                sink=log,
            )
        return sealing.result(), version

    def _blaming_the_engine(self, error: ProvisionFailed) -> InfrastructureError | None:
        """Return the error that replaces a tool's failure if the engine is down; None if it answers."""
        trouble = self.trouble()
        if not trouble:
            return None
        return ProvisionFailed(f"while the machine was prepared, {trouble}", details=_said(error))

    def _blaming_the_machine(self, error: ProvisionFailed, outputs: Mapping[str, object]) -> InfrastructureError | None:
        """Return the error that replaces a tool's failure if the machine is lost; None if it is alive."""
        try:
            self.connect(outputs).check()
        except (InfrastructureError, MachineRuined) as lost:
            return InstanceLost(f"the machine was lost while it was prepared: {lost}", details=_said(error))
        return None

    def _create(self, terraform: Terraform, variables: Mapping[str, object], stop: Stop) -> Mapping[str, object]:
        for _ in range(_OTHER_VARIABLES):
            try:
                return terraform.create(variables, stop)
            except ProvisionFailed as error:
                other = self.instead(variables, error)
                if other is None:
                    raise
                variables = other
        return terraform.create(variables, stop)

    def _fetch(self, url: str, stop: Stop) -> bytes:
        return download(url, stop=stop, rules=self._networks)

    def _module(self, folder: Path, log: OutputSink, stop: Stop) -> Terraform:
        # Uses the current environment: the provider may have restarted since the machine was made.
        return Terraform(folder, executable=self._terraform, environment=self.environment(stop), sink=log)

    def _destroy_at_once(self, order: Order) -> bool:
        """Destroy without terraform, as the caller waits. Its state goes with the work folder. Returns success."""
        try:
            self.remove_by_label(order)
        except InfrastructureError as error:
            task = {"task_id": order.task_id, "attempt": order.attempt}
            log.warning("machine not removed at once", extra={**task, "error": str(error)})
            return False
        return True

    def _destroy(self, order: Order, folder: Path, sink: OutputSink) -> None:
        """Destroy the machine. Failures are logged and do not change the verdict."""
        task = {"task_id": order.task_id, "attempt": order.attempt}
        try:
            stop = Stop(REMOVE_TIMEOUT)
            self._module(folder, sink, stop).remove(stop)
        except (InfrastructureError, Stopped, OSError) as error:
            details = getattr(error, "details", "")
            log.warning("terraform destroy failed", extra={**task, "error": str(error), "details": details})
        # Even after a successful destroy: an interrupted create may be missing from the state.
        try:
            self.remove_by_label(order)
        except InfrastructureError as error:
            log.warning("machine not removed", extra={**task, "error": str(error)})


def _said(error: InfrastructureError) -> str:
    return f"{error}\n{error.details}".strip()

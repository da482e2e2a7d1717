"""The life cycle that every machine made by Terraform shares: make, prepare with Ansible, take away."""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alts.core.command import OutputSink
from alts.core.instance import Instance, InstanceFile, MachineRuined
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

# Taking a machine away is not part of the task's time: it must work when that has run out (seconds).
REMOVE_TIMEOUT = 120.0

_OTHER_VARIABLES = 3  # times that a machine is asked for anew, with variables that are chosen again

FilesFor = Callable[[TaskSpec], Sequence[InstanceFile]]
"""The repositories and settings that a fresh machine needs for a task."""


@dataclass(frozen=True)
class Plan:
    """What Terraform is to make, and of what."""

    variables: Mapping[str, object]
    image: Mapping[str, str]


class TerraformedRunner(ABC):
    """A runner whose machines are one Terraform module, resources/terraform/<name>/."""

    name: str
    """Of the module, and of the runner in the configuration."""

    def __init__(
        self,
        *,
        terraform: Path,
        docker_host: str,
        files_for: FilesFor,
        provider_version: str | None,
        networks: NetworkRules = DEFAULT_RULES,
    ) -> None:
        """`provider_version`: the registry's, such as "~> 3.6"; None where the embedded one is attached."""
        self._networks = networks
        self._terraform = terraform
        self._docker_host = docker_host
        self._files_for = files_for
        self._provider_version = provider_version

    @abstractmethod
    def plan(self, order: Order, *, stop: Stop, log: OutputSink) -> Plan:
        """Choose the image and the variables. Raises ImageUnavailable or Stopped."""

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> Mapping[str, object] | None:  # noqa: ARG002
        """Other variables to try, where these were refused for what may change from one moment to the next."""
        return None

    @abstractmethod
    def environment(self, stop: Stop) -> Mapping[str, str]:
        """What Terraform needs in its environment to find the provider. Raises InfrastructureError or Stopped."""

    @abstractmethod
    def connect(self, outputs: Mapping[str, object]) -> Instance:
        """The machine that the module's outputs describe, with all its limits. Raises ProvisionFailed."""

    @abstractmethod
    def seal(self, order: Order, outputs: Mapping[str, object]) -> str:
        """Close the machine off from networks that are not for it; why that was not to be done, else empty.

        Raises ProvisionFailed where it must be done, and could not be.
        """

    @abstractmethod
    def tools(self) -> Mapping[str, str]:
        """Versions of what the machine runs on, such as {"docker": "20.10.24"}."""

    @abstractmethod
    def remove_by_label(self, order: Order) -> None:
        """Take away what Terraform has lost track of. Raises InfrastructureError."""

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
        # Side by side: neither has anything to do with the other, and both must be over before anything else runs.
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
        """What to say in place of a tool's failure where the machines' engine is lost; None where it answers."""
        trouble = self.trouble()
        if not trouble:
            return None
        return ProvisionFailed(f"while the machine was prepared, {trouble}", details=_said(error))

    def _blaming_the_machine(self, error: ProvisionFailed, outputs: Mapping[str, object]) -> InfrastructureError | None:
        """The same where the machine itself is lost; None where it is there."""
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
        # With the environment of now: the provider may have been started anew since the machine was made.
        return Terraform(folder, executable=self._terraform, environment=self.environment(stop), sink=log)

    def _destroy_at_once(self, order: Order) -> bool:
        """Without terraform, whose state goes with the work folder: somebody waits for the machine to be gone."""
        try:
            self.remove_by_label(order)
        except InfrastructureError as error:
            task = {"task_id": order.task_id, "attempt": order.attempt}
            log.warning("machine not removed at once", extra={**task, "error": str(error)})
            return False
        return True

    def _destroy(self, order: Order, folder: Path, sink: OutputSink) -> None:
        """Cleaning up reports its own trouble, and leaves the verdict alone."""
        task = {"task_id": order.task_id, "attempt": order.attempt}
        try:
            stop = Stop(REMOVE_TIMEOUT)
            self._module(folder, sink, stop).remove(stop)
        except (InfrastructureError, Stopped, OSError) as error:
            details = getattr(error, "details", "")
            log.warning("terraform destroy failed", extra={**task, "error": str(error), "details": details})
        # Also after a destroy that went well: the state may have been cut short before it named the machine.
        try:
            self.remove_by_label(order)
        except InfrastructureError as error:
            log.warning("machine not removed", extra={**task, "error": str(error)})


def _said(error: InfrastructureError) -> str:
    return f"{error}\n{error.details}".strip()

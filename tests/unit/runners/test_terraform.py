"""The life cycle of a machine. terraform is a shell script that fails at the test's choice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.contextvars import bound_contextvars

from alts.core.instance import Instance, InstanceFile
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped
from alts.runners.base import MachineRequest
from alts.runners.docker.module import docker_connection
from alts.runners.docker.runner import DockerRunner
from alts.runners.registry import RUNNERS
from alts.runners.terraform import MachinePlan, TerraformMachines
from alts.shared.errors import (
    ImageUnavailable,
    InfrastructureError,
    InstanceLost,
    ProvisionFailed,
    RepositoryUnreachable,
)
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository
from tests.support.builders import a_config, a_spec, an_order
from tests.support.fakes import FakeInstance
from tests.support.log_lines import captured_lines

TERRAFORM = """#!/bin/sh
echo "$1" >>"{calls}"
[ "$1" != "{fails_at}" ] || {{ echo "Error: no $1 today"; exit 1; }}
case $1 in
version) echo "Terraform v1.2.3" ;;
output) cat <<EOF
{{"machines": {{"value": {{
    "alts-00000000-0000-4000-8000-000000000001-1": {{"id": "1", "name": "machine"}}
}}}}}}
EOF
;;
esac
"""


class ScriptedModule:
    """Makes nothing, and records the names that it was asked to remove."""

    name = "docker"

    def __init__(
        self,
        folder: Path,
        *,
        fails_at: str = "",
        failure: InfrastructureError | None = None,
        engine_trouble: str = "",
        machine: FakeInstance | None = None,
        may_seal: threading.Event | None = None,
    ) -> None:
        """`may_seal`: what seal() waits for."""
        self.sealed = threading.Event()
        self._may_seal = may_seal
        self.removed: list[tuple[str, int]] = []
        self._engine_trouble = engine_trouble
        self._machine = machine or FakeInstance(name="machine")
        self._failure = failure
        self._calls = folder / "calls"
        self._calls.touch()
        script = folder / "terraform"
        script.write_text(TERRAFORM.format(calls=self._calls, fails_at=fails_at))
        script.chmod(0o755)
        self.terraform = script

    def plan(self, requests: Sequence[MachineRequest], *, stop: Stop, log: OutputSink) -> MachinePlan:
        if self._failure is not None:
            raise self._failure
        return MachinePlan({"name": "machine"}, {"reference": "debian:12"})

    def instead(self, variables: Mapping[str, object], error: ProvisionFailed) -> None:
        """Have no other variables."""

    def override(self) -> Mapping[str, object]:
        return {}

    def environment(self, stop: Stop) -> Mapping[str, str]:
        return {}

    def connect(self, machine: Mapping[str, str]) -> Instance:
        return self._machine

    def connection(self, machine: Mapping[str, str]) -> Mapping[str, str]:
        return docker_connection(machine["name"], "unix:///no/such/socket")

    def trouble(self) -> str:
        return self._engine_trouble

    def is_outdated(self, platform: Platform, image: Mapping[str, str]) -> bool:
        return False

    def close(self) -> None:
        pass

    def seal(self, request: MachineRequest, machine: Mapping[str, str]) -> str:
        logging.getLogger("alts.test").info("sealing")
        assert self._may_seal is None or self._may_seal.wait(30)
        self.sealed.set()
        return ""

    def tools(self) -> Mapping[str, str]:
        return {}

    def remove_by_label(self, request: MachineRequest) -> None:
        self.removed.append((request.task_id, request.attempt))

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().split()


def enter(module: ScriptedModule, folder: Path, *, stop: Stop | None = None) -> None:
    order = an_order(folder / "work")
    order.work_folder.mkdir()
    machines = TerraformMachines(module, terraform=module.terraform, files_for=lambda platform, repositories: ())
    with machines.make(order.request, stop=stop or Stop(60), log=lambda text: None) as made:
        machines.prepare(made, order, stop=stop or Stop(60), log=lambda text: None)
        pytest.fail("there is no machine to enter")


@pytest.mark.parametrize("fails_at", ["version", "init", "apply", "output"])
def test_wherever_terraform_fails_everything_is_taken_away(tmp_path: Path, fails_at: str) -> None:
    module = ScriptedModule(tmp_path, fails_at=fails_at)

    with pytest.raises(ProvisionFailed, match=f"terraform {fails_at}"):
        enter(module, tmp_path)

    assert module.calls[-1] == "destroy"
    assert len(module.removed) == 1


@pytest.mark.slow
def test_a_machine_that_cannot_be_prepared_is_taken_away(tmp_path: Path) -> None:
    # Ansible is real, and finds no engine.
    module = ScriptedModule(tmp_path)

    with pytest.raises(ProvisionFailed, match="ansible"):
        enter(module, tmp_path)

    assert module.calls == ["version", "init", "apply", "output", "destroy"]
    assert len(module.removed) == 1


@pytest.mark.slow
def test_lines_of_the_sealing_thread_name_the_attempt(tmp_path: Path) -> None:
    module = ScriptedModule(tmp_path)

    with captured_lines() as lines, bound_contextvars(task_id="t", attempt=1), pytest.raises(ProvisionFailed):
        enter(module, tmp_path)

    assert [line.partition(": ")[2] for line in lines] == ["sealing attempt=1 task_id=t"]


@pytest.mark.parametrize(
    "fails_at",
    ["version", "apply", pytest.param("", marks=pytest.mark.slow)],
    ids=["version", "apply", "ansible"],
)
def test_where_the_engine_is_lost_that_is_what_is_said(tmp_path: Path, fails_at: str) -> None:
    trouble = "the Docker engine could not be reached at unix:///x: connection refused"
    module = ScriptedModule(tmp_path, fails_at=fails_at, engine_trouble=trouble)

    with pytest.raises(ProvisionFailed, match=f"while the machine was being prepared: {trouble}") as caught:
        enter(module, tmp_path)

    assert caught.value.retryable
    # The tool's own words are kept.
    assert "failed" in caught.value.details


@pytest.mark.slow
def test_where_the_machine_is_lost_that_is_what_is_said(tmp_path: Path) -> None:
    machine = FakeInstance(name="machine")
    machine.kill()
    module = ScriptedModule(tmp_path, machine=machine)

    with pytest.raises(InstanceLost, match="the machine was lost while it was being prepared") as caught:
        enter(module, tmp_path)

    assert caught.value.retryable
    assert "ansible failed" in caught.value.details


def test_a_stop_before_the_machine_is_there_still_cleans_up_in_its_own_time(tmp_path: Path) -> None:
    module = ScriptedModule(tmp_path)

    with pytest.raises(Stopped):
        enter(module, tmp_path, stop=Stop(0))

    assert module.calls == ["destroy"]
    assert len(module.removed) == 1


@pytest.mark.slow
def test_a_destroy_that_fails_does_not_hide_why_there_is_no_machine(tmp_path: Path) -> None:
    module = ScriptedModule(tmp_path, fails_at="destroy")

    with pytest.raises(ProvisionFailed, match="ansible"):
        enter(module, tmp_path)

    assert len(module.removed) == 1


def test_without_an_image_terraform_is_not_even_started(tmp_path: Path) -> None:
    module = ScriptedModule(tmp_path, failure=ImageUnavailable("no image"))

    with pytest.raises(ImageUnavailable):
        enter(module, tmp_path)

    assert module.calls == []


@pytest.mark.slow
def test_a_machine_is_sealed_while_it_is_prepared(tmp_path: Path) -> None:
    preparing = threading.Event()
    module = ScriptedModule(tmp_path, may_seal=preparing)
    order = an_order(tmp_path / "work")
    order.work_folder.mkdir()

    def files_for(platform: Platform, repositories: Sequence[Repository]) -> Sequence[InstanceFile]:
        assert not module.sealed.is_set()
        preparing.set()
        return ()

    machines = TerraformMachines(module, terraform=module.terraform, files_for=files_for)
    with (
        machines.make(order.request, stop=Stop(60), log=lambda text: None) as made,
        # Ansible is real, and finds no engine.
        pytest.raises(ProvisionFailed, match="ansible"),
    ):
        machines.prepare(made, order, stop=Stop(60), log=lambda text: None)

    assert module.sealed.is_set()


def test_a_machine_is_destroyed_only_when_its_sealing_has_ended(tmp_path: Path) -> None:
    may_seal = threading.Event()
    module = ScriptedModule(tmp_path, may_seal=may_seal)
    order = an_order(tmp_path / "work")
    order.work_folder.mkdir()

    machines = TerraformMachines(module, terraform=module.terraform, files_for=lambda platform, repositories: ())
    with machines.make(order.request, stop=Stop(60), log=lambda text: None):
        assert not module.sealed.is_set()
        threading.Timer(0.2, may_seal.set).start()

    assert module.sealed.is_set()
    assert module.calls[-1] == "destroy"


def test_a_repository_at_a_denied_address_is_refused_before_a_machine_is_made(tmp_path: Path) -> None:
    module = ScriptedModule(tmp_path)
    machines = TerraformMachines(module, terraform=module.terraform, files_for=lambda platform, repositories: ())
    spec = a_spec(repositories=[{"name": "mine", "url": "http://169.254.169.254/debian", "trusted": True}])

    with pytest.raises(RepositoryUnreachable):
        machines.check(spec, stop=Stop(60))

    assert module.calls == []


def test_the_name_in_the_configuration_leads_to_the_runner(tmp_path: Path) -> None:
    runner = RUNNERS["docker"](a_config(pool_size=0), worker="worker", folder=tmp_path)

    assert isinstance(runner, DockerRunner)

"""From an order to a ready machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.runners.base import Order, Provisioned, provision
from alts.shared.errors import InfrastructureError, ProvisionFailed, RepositoryUnreachable
from alts.shared.models.task_spec import TaskSpec
from tests.support.builders import an_order
from tests.support.fakes import FakeRunner


@dataclass
class RefusingRunner(FakeRunner):
    """Refuses at one of its steps."""

    check_error: InfrastructureError | None = None
    prepare_error: InfrastructureError | None = None

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        if self.check_error is not None:
            raise self.check_error

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        assert self.machines_up == 1
        if self.prepare_error is not None:
            raise self.prepare_error
        return made


def enter(runner: FakeRunner, folder: Path) -> list[str]:
    """Return the log."""
    said: list[str] = []
    with provision(runner, an_order(folder), stop=Stop(60), log=said.append):
        assert runner.machines_up == 1
    return said


def test_a_machine_is_there_for_the_block_alone(tmp_path: Path) -> None:
    runner = RefusingRunner()

    assert enter(runner, tmp_path) == ["provisioned\n"]
    assert runner.machines_up == 0


def test_a_task_that_is_refused_has_no_machine_made(tmp_path: Path) -> None:
    runner = RefusingRunner(check_error=RepositoryUnreachable("denied"), failure=ProvisionFailed("asked for"))

    with pytest.raises(RepositoryUnreachable):
        enter(runner, tmp_path)


def test_a_machine_that_cannot_be_prepared_is_gone(tmp_path: Path) -> None:
    runner = RefusingRunner(prepare_error=ProvisionFailed("ansible failed"))

    with pytest.raises(ProvisionFailed, match="ansible failed"):
        enter(runner, tmp_path)

    assert runner.machines_up == 0

"""What a runner gives: a machine to test on, made ready, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alts.core.command import OutputSink
from alts.core.instance import Instance
from alts.core.stop import Stop
from alts.shared.models.report import AttemptSummary
from alts.shared.models.task_spec import TaskSpec


@dataclass(frozen=True)
class Provisioned:
    """A ready machine, and what it was made of."""

    instance: Instance
    image: Mapping[str, str]
    """reference, id, origin."""
    tools: Mapping[str, str]
    """Versions of terraform, ansible and docker, as they said when they ran."""


@dataclass(frozen=True)
class Order:
    """What a runner is asked for."""

    task_id: str
    attempt: int
    spec: TaskSpec
    work_folder: Path
    """Exists, is empty and belongs to this attempt alone; its maker removes it."""
    earlier: tuple[AttemptSummary, ...] = ()
    """What the attempts before this one have brought, for the report."""


@dataclass(frozen=True)
class Machine:
    """A machine, or what is left of one, as its labels say."""

    worker: str
    """The identity of the worker that made it."""
    task_id: str
    attempt: int


class Runner(Protocol):
    """A way to get machines."""

    def provision(self, order: Order, *, stop: Stop, log: OutputSink) -> AbstractContextManager[Provisioned]:
        """A ready machine for as long as the `with` lasts. Entering it succeeds or leaves nothing behind.

        The machine is named and labelled with task and attempt. What terraform and ansible say goes to `log`.
        Raises ProvisionFailed, ImageUnavailable, RepositoryUnreachable or Stopped.
        """

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        """Destroy what attempts of this task before `below` have left behind; says how many machines."""

    def remove_all_of(self, worker: str) -> int:
        """Destroy every machine of the worker of that identity, which is known to be dead; says how many."""

    def machines(self) -> Iterable[Machine]:
        """Every machine on the engine, also those of other workers and installations."""

    def remove(self, task_id: str, attempt: int) -> int:
        """Destroy what that attempt has on the engine; says how many machines."""

    def trouble(self) -> str:
        """Why no machine can be made now, in one line; empty where one can. Answers within seconds, raises nothing."""

    def folders(self) -> Iterable[Path]:
        """Folders of this host that machines take room in."""

    def close(self) -> None:
        """Give back what the runner holds for all tasks, such as the provider's process."""

"""Runner interface: provisions test machines and removes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alts.core.instance import Instance
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.shared.models.report import AttemptSummary
from alts.shared.models.task_spec import TaskSpec


@dataclass(frozen=True)
class Provisioned:
    """A ready machine with its image and tool versions."""

    instance: Instance
    image: Mapping[str, str]
    """reference, id, origin."""
    tools: Mapping[str, str]
    """Versions of terraform, ansible and docker, as reported at run time."""


@dataclass(frozen=True)
class Order:
    """A request for a machine."""

    task_id: str
    attempt: int
    spec: TaskSpec
    work_folder: Path
    """Existing empty folder for this attempt alone. Its creator removes it."""
    earlier: tuple[AttemptSummary, ...] = ()
    """Results of earlier attempts, for the report."""


@dataclass(frozen=True)
class Machine:
    """A machine or its remains, as described by its labels."""

    worker: str
    """Identity of the worker that made it."""
    task_id: str
    attempt: int


class Runner(Protocol):
    """Provider of machines."""

    def provision(self, order: Order, *, stop: Stop, log: OutputSink) -> AbstractContextManager[Provisioned]:
        """Provide a ready machine for the `with` block. Entering succeeds or leaves nothing behind.

        The machine is named and labelled with task and attempt. Output of terraform and ansible goes to `log`.
        Raises ProvisionFailed, ImageUnavailable, RepositoryUnreachable or Stopped.
        """

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        """Destroy what this task's attempts before `below` left behind. Returns the number of machines."""

    def remove_all_of(self, worker: str) -> int:
        """Destroy every machine of a worker known to be dead. Returns their number."""

    def machines(self) -> Iterable[Machine]:
        """List all machines, including those of other workers and installations."""

    def remove(self, task_id: str, attempt: int) -> int:
        """Destroy what an attempt has on the engine. Returns the number of machines."""

    def trouble(self) -> str:
        """Return why no machine can be made now, in one line; empty if one can. Takes seconds at most. Never raises."""

    def folders(self) -> Iterable[Path]:
        """Return the folders of this host whose disk space machines use."""

    def close(self) -> None:
        """Release resources shared by all tasks, e.g. the provider process."""

"""Runner interface: makes test machines, prepares them for a task, and removes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from alts.core.instance import Instance, InstanceFile
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.shared.models.platform import Platform
from alts.shared.models.report import AttemptSummary
from alts.shared.models.task_spec import TaskSpec

AttemptKey = tuple[str, int]
"""Task id and attempt number."""


@dataclass(frozen=True)
class MachineRequest:
    """A request for a machine that any task of its platform can use."""

    platform: Platform
    task_id: str
    """With `attempt` the machine's name and labels, by which it is found again after a crash."""
    attempt: int
    work_folder: Path
    """Existing folder for this machine alone. Its creator removes it."""

    @property
    def name(self) -> str:
        """The machine's name, e.g. "alts-5f0c...-1"."""
        return f"alts-{self.task_id}-{self.attempt}"


@dataclass(frozen=True)
class Order:
    """A request for a machine that is prepared for a task."""

    task_id: str
    attempt: int
    spec: TaskSpec
    work_folder: Path
    """Existing empty folder for this attempt alone. Its creator removes it."""
    earlier: tuple[AttemptSummary, ...] = ()
    """Results of earlier attempts, for the report."""

    @property
    def request(self) -> MachineRequest:
        """The part that the machine is made of."""
        return MachineRequest(self.spec.platform, self.task_id, self.attempt, self.work_folder)


@dataclass(frozen=True)
class Provisioned:
    """A running machine with its image and tool versions."""

    instance: Instance
    image: Mapping[str, str]
    """reference, id, origin."""
    tools: Mapping[str, str]
    """Versions of the tools that made it and its files, e.g. {"terraform": "1.11.4"}, as reported at run time."""
    connection: Mapping[str, str] = field(default_factory=dict)
    """Its variables in Ansible's inventory, e.g. {"ansible_connection": ..., "ansible_host": ...}."""
    files: tuple[InstanceFile, ...] = ()
    """Files of its platform that were written when it was made; empty if prepare() writes them."""
    lists_fetched_at: datetime | None = None
    """When the distribution's package lists in its image were fetched; None if the image has none."""
    not_sealed: Callable[[], str] = lambda: ""
    """Waits until the machine's network is sealed. Returns why it is not; empty if it is. Raises ProvisionFailed."""


@dataclass(frozen=True)
class Machine:
    """A machine or its remains, as described by its labels."""

    worker: str
    """Identity of the worker that made it."""
    task_id: str
    """For a machine that was made ahead of its task, an id of its own."""
    attempt: int
    """0 for a machine that was made ahead of its task."""
    age: float = 0.0
    """Seconds since it was made, by the clock of what runs it."""


class Runner(Protocol):
    """Provider of machines, in two halves: make() needs no task, prepare() adds what one task needs."""

    def check(self, spec: TaskSpec, *, stop: Stop) -> None:
        """Look at a task before a machine is made for it. Raises RepositoryUnreachable or Stopped."""

    def make(self, request: MachineRequest, *, stop: Stop, log: OutputSink) -> AbstractContextManager[Provisioned]:
        """Make a machine for the `with` block. Entering succeeds or leaves nothing behind.

        The machine runs the platform's image and has all limits; it has no file of a task. Output of terraform goes to
        `log`. Sealing its network may still be under way: prepare() waits for it.
        Raises ProvisionFailed, ImageUnavailable or Stopped.
        """

    def prepare(self, made: Provisioned, order: Order, *, stop: Stop, log: OutputSink) -> Provisioned:
        """Write the task's repositories and keys into the machine. Returns it with the tools that did so.

        Output of ansible goes to `log`. Raises ProvisionFailed, InstanceLost, RepositoryUnreachable or Stopped.
        """

    def remove_leftovers(self, task_id: str, *, below: int) -> int:
        """Destroy what this task's attempts before `below` left behind. Returns the number of machines."""

    def remove_all_of(self, worker: str) -> int:
        """Destroy every machine of a worker known to be dead. Returns their number."""

    def machines(self) -> Iterable[Machine]:
        """List all machines, including those of other workers and installations."""

    def remove(self, task_id: str, attempt: int) -> int:
        """Destroy what an attempt has on the engine. Returns the number of machines."""

    def held(self) -> Collection[AttemptKey]:
        """Return the task ids and attempts of machines that are wanted although no attempt of that name runs."""

    def trouble(self) -> str:
        """Return why no machine can be made now, in one line; empty if one can. Takes seconds at most. Never raises."""

    def folders(self) -> Iterable[Path]:
        """Return the folders of this host whose disk space machines use."""

    def close(self) -> None:
        """Release resources shared by all tasks, e.g. the provider process."""


class BatchRunner(Runner, Protocol):
    """A runner that can make several machines at once, for less than as many single ones cost."""

    def make_ready(
        self, requests: Sequence[MachineRequest], *, folder: Path, stop: Stop, log: OutputSink
    ) -> Sequence[Provisioned]:
        """Make machines of one platform, sealed, with the files that each task of it needs. Returns them in order.

        They stay until remove(). prepare() adds the files of a task alone. `folder`: an existing one for this call.
        If one cannot be made, none is left. Raises ProvisionFailed, ImageUnavailable, InstanceLost or Stopped.
        """

    def is_outdated(self, request: MachineRequest, made: Provisioned) -> bool:
        """Return whether a machine of make_ready() would be made of a newer image now. Takes no time."""


@contextmanager
def provision(runner: Runner, order: Order, *, stop: Stop, log: OutputSink) -> Iterator[Provisioned]:
    """Make a machine and prepare it for the order's task. It is destroyed after the `with` block.

    Raises what Runner.check, make and prepare raise.
    """
    runner.check(order.spec, stop=stop)
    with runner.make(order.request, stop=stop, log=log) as made:
        yield runner.prepare(made, order, stop=stop, log=log)

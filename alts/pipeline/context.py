"""What a stage is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from alts.checks.state.snapshot import Snapshot
from alts.core.command import Completed, shown
from alts.core.instance import Instance, MachineRuined
from alts.core.output import BoundedOutput
from alts.core.stop import Stop, Stopped
from alts.package_managers.base import Candidate, Identity, InstalledPackage, PackageManager, Query
from alts.pipeline.diagnosis.kernel_limits import what_ruined
from alts.shared.errors import DiskFull, StateUnreadable
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

T = TypeVar("T")

NOT_RUN = (126, 127)
"""Shell exit codes: 126 not executable, 127 not found (POSIX, "Exit Status for Commands")."""

LOG_HEAD = 4_000_000
LOG_TAIL = 1_000_000


class StageLog:
    """What a stage's commands said, for the artifact; cut in the middle when long (characters)."""

    def __init__(self) -> None:
        self._output = BoundedOutput(head_limit=LOG_HEAD, tail_limit=LOG_TAIL)

    def write(self, text: str) -> None:
        self._output.write(text)

    def line(self, text: str) -> None:
        """A line of ours, on a line of its own."""
        self.write(f"{text}\n")

    def text(self) -> str:
        return self._output.text()


@dataclass
class Observations:
    """What stages learn for those after them and for the report."""

    package: InstalledPackage | None = None
    package_manager: str = ""
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    """Moment ("before", "installed", ...; see alts.pipeline.stages.snapshot) → snapshot, in the order taken."""
    candidates: tuple[Candidate, ...] = ()
    candidate: Candidate | None = None
    """What is under test."""
    already_installed: bool = False
    """It came with the base image, in that very version."""
    identity: Identity | None = None
    declared: frozenset[str] = frozenset()
    """Users and groups that what came with it declares for systemd-sysusers(8)."""
    closure: tuple[str, ...] = ()
    """All that its installation has installed, itself included: "hello 2.10-3"."""


@dataclass(frozen=True)
class StageContext:
    """What a stage works on. One is made for every stage of a run; `seen` is shared by all of them."""

    spec: TaskSpec
    instance: Instance
    packages: PackageManager
    stop: Stop
    log: StageLog
    seen: Observations
    commands: list[Completed] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, question: bool = False) -> Completed:
        """Run a program on the instance, logged. Raises Stopped where the stage's time is up, or InstanceLost.

        `question`: its exit code is an answer to us, not the stage's.
        """
        self.log.line(f"$ {shown(argv)}")
        done = self.instance.run(argv, stop=self.stop, env=self.packages.environment, sink=self.log.write)
        if done.output and not done.output.endswith("\n"):
            self.log.line("")
        ending = f"exit code {done.exit_code}" if done.stopped is None else f"killed: {done.stopped.value}"
        self.log.line(f"[{ending}, {done.seconds:.2f} s]")
        if not question:
            self.commands.append(done)
        if done.stopped is not None:
            raise Stopped(done.stopped)
        return done

    def ask(self, query: Query[T]) -> T:
        """Run a query and read its output, whatever its exit code. Raises Stopped or InstanceLost."""
        return query.read(self.run(query.argv, question=True).output)

    def note(self, argv: Sequence[str], path: str, title: str, *, limit: int) -> bytes:
        """What a program of ours has written to the file `path`: only its title goes to the log.

        Raises Stopped, InstanceLost, DiskFull, MachineRuined where it is more than `limit` bytes, or where the program
        fails MachineRuined or StateUnreadable.
        """
        done = self.instance.run(argv, stop=self.stop, env=self.packages.environment)
        self.log.line(f"[{title}, {done.seconds:.2f} s]")
        if done.stopped is not None:
            raise Stopped(done.stopped)
        if not done.ok:
            self.log.line(done.tail())
            if ruined := self.what_ruined(done):
                raise ruined
            check_tools(done)
            category = DiskFull if "No space left on device" in done.output else StateUnreadable
            raise category(f"{title}: failed with exit code {done.exit_code}", details=done.tail())
        try:
            return self.instance.pull(path, stop=self.stop, limit=limit)
        except FileNotFoundError as error:
            raise StateUnreadable(f"{title}: nothing was written") from error

    def what_ruined(self, failed: Completed) -> MachineRuined | None:
        """What a command's failure comes down to where the machine has nothing left to give, or kills what we run."""
        return what_ruined(failed, lambda argv: self.run(argv, question=True))

    def installed(self) -> InstalledPackage | None:
        """The package as the machine has it; None where it has not.

        Raises PackageManagerBroken where the machine cannot say: that is no answer, least of all "not installed".
        """
        query = self.packages.installed(self.spec)
        done = self.run(query.argv, question=True)
        if not done.ok and not self.packages.says_absent(done):
            raise PackageManagerBroken(done)
        return query.read(done.output)


def check_tools(done: Completed) -> None:
    """Raises MachineRuined where a question of ours had no answer because something of the machine is gone.

    It was there when the machine was new, or the stages before the package would not have come to their end.
    """
    if done.exit_code in NOT_RUN:
        raise MachineRuined(None, "what every machine has is gone", evidence=done.tail(1))


class PackageManagerBroken(Exception):  # noqa: N818 - what happened to the machine
    """After the package came or went, the package manager does not even answer any more."""

    def __init__(self, done: Completed) -> None:
        super().__init__(f"{done.argv[0]} does not answer any more")
        self.done = done


@dataclass(frozen=True)
class StageAnswer:
    """What a stage has to say when it ran to its end."""

    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    """Why there was nothing to do; empty where there was."""


@dataclass(frozen=True)
class Stage:
    """A step of a plan."""

    name: str
    action: Callable[[StageContext], StageAnswer]
    timeout: float
    """Seconds that it may take."""
    overrun: Kind
    """What it means when it takes longer: Kind.TIMEOUT blames the package, a kind of ours does not."""
    needs: tuple[str, ...] = ()
    """Stages that must have passed before."""
    unless_failed: tuple[str, ...] = ()
    """Stages after whose failure it would only say the same again; that they were skipped is fine."""

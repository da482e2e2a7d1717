"""The context of a stage: its task, machine, deadline and log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from alts.core.command import Completed, shown
from alts.core.instance import Instance, MachineRuined
from alts.core.stop import Stop, Stopped
from alts.package_managers.base import InstalledPackage, Operation, PackageManager, Query
from alts.pipeline.diagnosis.exit_codes import check_tools
from alts.pipeline.diagnosis.kernel_limits import what_ruined
from alts.pipeline.observations import Observations
from alts.pipeline.stage_log import StageLog
from alts.pipeline.timeline import Timeline
from alts.shared.errors import DiskFull, InfrastructureError, StateUnreadable
from alts.shared.models.task_spec import TaskSpec

T = TypeVar("T")


@dataclass(frozen=True)
class StageContext:
    """The task, the machine and the log of one stage. Every stage has a context of its own."""

    spec: TaskSpec
    instance: Instance
    packages: PackageManager
    stop: Stop
    """Ends with the stage's timeout."""
    log: StageLog
    seen: Observations
    """Shared by all stages of a run."""
    commands: list[Completed] = field(default_factory=list)
    """The commands by which the stage is judged, in the order run."""
    timeline: Timeline = field(default_factory=Timeline)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, argv: Sequence[str], *, question: bool = False, repeatable: bool = False) -> Completed:
        """Run a program on the instance and log it with its output.

        `repeatable`: it runs no code of a package, see alts.core.instance.Instance.run.
        `question`: it is repeatable, too, and its exit code is an answer, not the result of the stage. `commands`
        leaves it out.
        Raises Stopped if the stage's time is up, InstanceLost, or MachineRuined.
        """
        self.log.line(f"$ {shown(argv)}")
        with self.timeline.step(shown(argv)):
            done = self.instance.run(
                argv,
                stop=self.stop,
                env=self.packages.environment,
                sink=self.log.write,
                repeatable=question or repeatable,
            )
        if done.output and not done.output.endswith("\n"):
            self.log.line("")
        ending = f"exit code {done.exit_code}" if done.stopped is None else f"killed: {done.stopped.value}"
        self.log.line(f"[{ending}, {done.seconds:.2f} s]")
        if not question:
            self.commands.append(done)
        if done.stopped is not None:
            raise Stopped(done.stopped)
        return done

    def perform(self, operation: Operation[T]) -> Completed:
        """Run an operation's command, or the quicker one if its rehearsal shows that it does the same.

        Raises what run() raises.
        """
        rehearsal = operation.rehearsal
        if rehearsal is not None and rehearsal.agrees(self.run(rehearsal.argv, question=True)):
            return self.run(rehearsal.quicker, repeatable=operation.repeatable)
        return self.run(operation.argv, repeatable=operation.repeatable)

    def ask(self, query: Query[T]) -> T:
        """Run a query and read its output, whatever its exit code. Raises what run() raises."""
        return query.read(self.run(query.argv, question=True).output)

    def note(self, argv: Sequence[str], path: str, title: str, *, limit: int) -> bytes:
        """Run a program of ours that writes a file and changes nothing else, and return the file's content.

        Only `title` goes to the log.

        `path`: the file on the machine.
        Raises MachineRuined if the file has more than `limit` bytes. If the program fails, raises MachineRuined,
        DiskFull or StateUnreadable, depending on the cause. Raises Stopped, InstanceLost or MachineRuined like run().
        """
        with self.timeline.step(title):
            done = self.instance.run(argv, stop=self.stop, env=self.packages.environment, repeatable=True)
        self.log.line(f"[{title}, {done.seconds:.2f} s]")
        if done.stopped is not None:
            raise Stopped(done.stopped)
        if not done.ok:
            self.log.line(done.tail())
            raise self.unanswered(done, f"{title}: failed with exit code {done.exit_code}")
        try:
            with self.timeline.step(f"{title}: read"):
                return self.instance.pull(path, stop=self.stop, limit=limit)
        except FileNotFoundError as error:
            raise StateUnreadable(f"{title}: nothing was written") from error

    def answer(self, query: Query[T]) -> T:
        """Run a query that must succeed, because half an answer would let anything pass, and read its output.

        Raises what unanswered() returns, and what run() raises.
        """
        done = self.run(query.argv, repeatable=True)
        if not done.ok:
            raise self.unanswered(done, f"the machine's package manager cannot be queried: {query.argv[0]} failed")
        return query.read(done.output)

    def unanswered(self, failed: Completed, message: str) -> MachineRuined | InfrastructureError:
        """Return the error for a query that failed: a ruined machine, a full disk, else StateUnreadable(message).

        Any query can be the first to meet a limit that a process of the package has used up.
        Raises what what_ruined() raises, and MachineRuined if the program is gone.
        """
        if ruined := self.what_ruined(failed):
            return ruined
        check_tools(failed)
        category = DiskFull if "No space left on device" in failed.output else StateUnreadable
        return category(message, details=failed.tail())

    def what_ruined(self, failed: Completed) -> MachineRuined | None:
        """Return the cause if a command failed for a limit of the machine, or because something there killed it.

        Raises InfrastructureError if the host ran out of memory, Stopped or InstanceLost.
        """
        return what_ruined(failed, lambda argv: self.run(argv, question=True))

    def installed(self) -> InstalledPackage | None:
        """Return the package as it is installed on the machine; None if it is not installed.

        Raises MachineRuined, or PackageManagerBroken, if the package manager does not answer: no answer does not mean
        "not installed".
        """
        query = self.packages.installed(self.spec)
        done = self.run(query.argv, question=True)
        if not done.ok and not self.packages.says_absent(done):
            raise self.what_ruined(done) or PackageManagerBroken(done)
        return query.read(done.output)


class PackageManagerBroken(Exception):  # noqa: N818 - what happened to the machine
    """The package manager no longer answers after the package was installed or removed."""

    def __init__(self, done: Completed) -> None:
        super().__init__(f"{done.argv[0]} no longer works")
        self.done = done

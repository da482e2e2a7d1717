"""The interface of a running machine. Runners implement it, stages use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alts.core.command import Completed
from alts.core.output import OutputSink
from alts.core.stop import Stop
from alts.shared.models.report import Kind


@dataclass(frozen=True)
class InstanceFile:
    """A file to write to a fresh machine before the first stage."""

    path: str
    content: str
    mode: str = "0644"
    """Octal permissions, as Ansible takes them."""


class MachineRuined(Exception):  # noqa: N818 - what happened
    """The machine has met a limit of its resources, kills the commands run in it, or lacks a part of its own.

    If the package has come by then, it is to blame; if not, the machine was bad from the start.
    """

    def __init__(self, kind: Kind | None, message: str, *, evidence: str = "") -> None:
        """Note the cause.

        `kind`: the kind of the finding if the package is to blame; None for the kind that the plan has for the stage.
        """
        super().__init__(message)
        self.kind = kind
        self.evidence = evidence


class Instance(Protocol):
    """A running machine."""

    name: str

    def run(
        self,
        argv: Sequence[str],
        *,
        stop: Stop,
        env: Mapping[str, str] | None = None,
        sink: OutputSink | None = None,
        repeatable: bool = False,
    ) -> Completed:
        """Run a program as root with an empty standard input until it ends or `stop` does.

        At the deadline the program is killed with all its children. After another request to stop it may run on until
        the machine is destroyed, which follows. The result's `stopped` has the reason. Children in the background that
        keep the output open are not waited for.
        `repeatable`: the program runs no code of a package, and may be run twice. The runner may take a quicker way
        then, on which `sink` gets the output at the end.
        Raises InstanceLost if the machine is gone, MachineRuined if it has met a limit of its resources.
        """

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        """Read a file in chunks. Its size is under the package's control, so at most `limit` bytes are read.

        Raises MachineRuined if the file has more than `limit` bytes, FileNotFoundError, InstanceLost or Stopped.
        """

    def alive(self) -> bool:
        """Return whether the machine still runs."""

    def check(self) -> None:
        """Check the machine's health before a failure is blamed on the package.

        Raises InstanceLost if the machine is gone, MachineRuined if a process in it has ended it. Returns if the runner
        itself ended the machine because a command could not be killed.
        """

    def close(self) -> None:
        """Close the connections to the machine, which runs on. May be called twice."""

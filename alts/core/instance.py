"""A running machine, as the stages see it; runners implement it."""

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
    """A file that makes a fresh machine ready for the task."""

    path: str
    content: str
    mode: str = "0644"


class MachineRuined(Exception):  # noqa: N818 - what happened
    """The machine has used up what it may have of the host, kills what we run, or lacks what it is made of. Whose doing
    that is depends on what has run in it by then."""

    def __init__(self, kind: Kind | None, message: str, *, evidence: str = "") -> None:
        """`kind`: what a finding about it is called, where it is the package's doing; None for what was being done."""
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
    ) -> Completed:
        """Run a program as root, with nothing on its standard input, until it ends or `stop` says so.

        A program that runs out of time is killed with all its children. A program that is asked to stop may go on until
        the machine is destroyed, which follows. The result's `stopped` says why. Children that stay in the background
        with the output open are not waited for.
        Raises InstanceLost where the machine is gone, MachineRuined where it has used up what it may have.
        """

    def pull(self, path: str, *, stop: Stop, limit: int) -> bytes:
        """Read a file in chunks. Its size is under the package's control, so at most `limit` bytes are read.

        Raises FileNotFoundError, InstanceLost, Stopped, or MachineRuined where it has more than `limit` bytes.
        """

    def alive(self) -> bool:
        """Whether the machine still runs."""

    def check(self) -> None:
        """Asked before anything is blamed on the package.

        Raises InstanceLost where the machine is gone, MachineRuined where what ran in it has ended it; says nothing of
        one that had to be ended because a command in it could not be.
        """

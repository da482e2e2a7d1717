"""What the stages need to know of a package manager: argv to run, and what its output means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alts.command import Completed
from alts.shared.report import Finding
from alts.shared.spec import TaskSpec


@dataclass(frozen=True)
class InstanceFile:
    """A file that makes a fresh machine ready for the task."""

    path: str
    content: str
    mode: str = "0644"


@dataclass(frozen=True)
class Candidate:
    """What the package manager would install."""

    version: str
    origin: str
    """Where it comes from, such as "http://deb.debian.org/debian bookworm/main amd64 Packages"."""


@dataclass(frozen=True)
class InstalledPackage:
    """What the machine says is installed."""

    name: str
    version: str
    architecture: str


class PackageManager(Protocol):
    """Builds argv and reads outputs; runs nothing."""

    environment: Mapping[str, str]
    """For every command: no questions, untranslated output."""

    def files(self, spec: TaskSpec) -> tuple[InstanceFile, ...]:
        """Repositories and settings, written before the first command runs."""

    def version_argv(self) -> Sequence[str]:
        """Prints the package manager's version."""

    def read_version(self, output: str) -> str: ...

    def system_argv(self) -> Sequence[Sequence[str]]:
        """Commands that describe the fresh machine."""

    def refresh_argv(self) -> Sequence[str]:
        """Fetches the package lists."""

    def refresh_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Asks for what could be installed."""

    def read_candidates(self, output: str) -> tuple[Candidate, ...]:
        """What could be installed, the preferred one first."""

    def install_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]: ...

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def installed_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Asks whether the package is installed."""

    def read_installed(self, spec: TaskSpec, done: Completed) -> InstalledPackage | None: ...

    def verify_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Compares the installed files with what was shipped."""

    def verify_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def remove_argv(self, spec: TaskSpec) -> Sequence[str]: ...

    def remove_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def removal_refused(self, done: Completed) -> str:
        """Why the system cannot do without the package, as one plain line; empty where it can."""

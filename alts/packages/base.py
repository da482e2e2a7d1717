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


@dataclass(frozen=True)
class Identity:
    """Which file it was that was installed, as the machine itself proves it; empty where it cannot say."""

    name: str
    version: str
    architecture: str
    repository: str
    """The repository that it came from, such as "http://deb.debian.org/debian bookworm/main amd64 Packages"."""
    file: str
    """The package file, such as "pool/main/h/hello/hello_2.10-3_amd64.deb"."""
    sha256: str
    """Of that file, as it lies on the machine."""
    promised_sha256: str
    """As the repository's index says."""


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

    # right_package

    def identity_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[Sequence[str]]:
        """Commands whose outputs prove, right after the installation, what was installed."""

    def read_identity(self, spec: TaskSpec, candidate: Candidate, done: Sequence[Completed]) -> Identity: ...

    # integrity, leftovers

    def owned_files_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Lists every path that the installed package ships."""

    def read_owned_files(self, done: Completed) -> tuple[str, ...]: ...

    # purge

    def purge_argv(self, spec: TaskSpec) -> Sequence[str] | None:
        """Removes what a removal leaves, such as conffiles; None where the family knows no such thing."""

    def purge_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    # snapshots

    def packages_argv(self) -> Sequence[str]:
        """Lists every installed package."""

    def read_packages(self, done: Completed) -> Mapping[str, str]:
        """Name (with architecture where that is foreign) → version."""

    # protected packages

    def protected_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Asks whether the system can do without the package."""

    def read_protected(self, spec: TaskSpec, done: Completed) -> str:
        """Why it cannot, as one plain line; empty where it can."""

    # plan "full"

    def reinstall_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]: ...

    # dependency failures in plain words

    def why_argv(self, package: str) -> Sequence[str]:
        """Asks what a package needs and whether each can be had; walked from package to package."""

    def read_why(self, package: str, done: Completed) -> tuple[str, ...]:
        """What the package needs and cannot be had as it is, one requirement each, such as "libfoo2 (>= 3)"."""

"""The package manager interface for the stages: commands as argv, and readers of their output. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.shared.models.platform import Platform
from alts.shared.models.report import Finding, Kind
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Query(Generic[T]):
    """A command that asks the machine for something, and the reader of its output. The reader ignores the exit code.

    The command runs no code of a package, and may be run twice.
    """

    argv: Sequence[str]
    read: Callable[[str], T]


@dataclass(frozen=True)
class Queries(Generic[T]):
    """Several commands that answer one question together. They run no code of a package, and may be run twice."""

    argvs: Sequence[Sequence[str]]
    read: Callable[[Sequence[str]], T]
    """Takes one output per command, in the same order."""


@dataclass(frozen=True)
class Rehearsal:
    """A simulation that shows whether a quicker command does just what an operation's own command would do."""

    argv: Sequence[str]
    """The simulation of the quicker command."""
    agrees: Callable[[Completed], bool]
    quicker: Sequence[str]


@dataclass(frozen=True)
class Operation(Generic[T]):
    """A command whose exit code counts, and the judgement of its result."""

    argv: Sequence[str]
    judge: Callable[[Completed], T]
    repeatable: bool = False
    """The command runs no code of a package, and may be run twice."""
    rehearsal: Rehearsal | None = None


@dataclass(frozen=True)
class IndexedFile:
    """A package file as a repository's index describes it. Facts that the index does not have are ""."""

    architecture: str
    repository: str
    """The repository's id, as the package manager names it."""
    sha256: str
    location: str
    """Path below the repository's address."""


@dataclass(frozen=True)
class Candidate:
    """A version that the package manager can install."""

    version: str
    origin: str
    """Its repository, e.g. "http://deb.debian.org/debian bookworm/main amd64 Packages"; "" if no repository has it."""
    files: tuple[IndexedFile, ...] = ()
    """The files of this version in all repositories; empty if identity() asks for them."""


@dataclass(frozen=True)
class InstalledPackage:
    """A package as the machine's package database records it."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class Identity:
    """The package file that was installed, as the machine itself proves it. Facts that it cannot prove are ""."""

    name: str
    version: str
    architecture: str
    repository: str
    """The repository that served the file, e.g. "http://deb.debian.org/debian bookworm/main amd64 Packages"."""
    file: str
    """The package file, e.g. "pool/main/h/hello/hello_2.10-3_amd64.deb"."""
    sha256: str
    """Checksum of the file on the machine."""
    promised_sha256: str
    """Checksum of the file in the repository's index."""


Exclusions = Callable[[str], bool]
"""Tells whether the machine's settings leave a path out when a package is unpacked."""


class PackageManager(Protocol):
    """Builds argv and reads outputs; runs nothing."""

    environment: Mapping[str, str]
    """Variables for every command. They turn questions and translated output off."""
    folders: Sequence[str]
    """Folders of its database and its downloads, beside the folders that every system has."""

    def files(self, platform: Platform, repositories: Sequence[Repository]) -> tuple[InstanceFile, ...]:
        """Return settings, and a task's repositories with their keys: files to write before the first command runs.

        Keys must be text already, not URLs.
        """

    def version(self) -> Query[str]:
        """Ask for the package manager's version; "unknown" if the output has none."""

    def system_argv(self) -> Sequence[Sequence[str]]:
        """Return commands that describe the fresh machine for the log."""

    def refresh_argv(self) -> Sequence[str]:
        """Return the command of refresh()."""

    def refresh(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Fetch the package lists of the distribution and of the task's repositories."""

    def refresh_brought(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Fetch the package lists of the task's repositories alone, of which there is at least one.

        The machine's image has the distribution's lists, fetched by refresh().
        """

    def served(self, spec: TaskSpec, failed: Completed) -> Query[tuple[Finding, ...]] | None:
        """Ask what the repositories served to a refresh that failed. Return None if the refresh's output says enough.

        The answer replaces the refresh's findings. Metadata that is no metadata at all (e.g. a login page) is not the
        package's fault.
        """

    def candidates(self, spec: TaskSpec) -> Query[tuple[Candidate, ...]]:
        """Ask for the versions that can be installed, the preferred one first."""

    def install(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Install exactly the candidate, with its dependencies."""

    def reinstall(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Install the candidate over itself."""

    def remove(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Remove the package. Its dependencies stay."""

    def removal_refused(self, spec: TaskSpec, done: Completed) -> str:
        """Return why remove() refused to remove what the system needs, in one line; "" if it did not refuse.

        The package manager refuses before it changes anything.
        """

    def purge(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]] | None:
        """Remove the conffiles and data that a removal leaves. Return None if a removal leaves nothing to purge."""

    def install_others(self, spec: TaskSpec, others: Mapping[str, str]) -> Operation[tuple[Finding, ...]]:
        """Install other packages (name → version, as in installed_packages) and their hard dependencies."""

    def remove_others(self, others: Iterable[str]) -> Operation[bool]:
        """Remove other packages (names as in installed_packages), and purge them if the family knows a purge."""

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        """Tell what a transaction with this output spent its time of `seconds` on.

        Kind.TIMEOUT: the packages' own work. Kind.REPOSITORY_UNREACHABLE: the download, if it was not finished or took
        more than half of the time. Kind.INTERNAL: a step before the download.
        """

    def disk_full_line(self, output: str) -> str:
        """Return the line in which the package manager itself says that the disk is full; "" if there is no such line.

        The lines of the packages' own scripts do not count.
        """

    def installed(self, spec: TaskSpec) -> Query[InstalledPackage | None]:
        """Ask for the package as installed; None if it is not. If the command fails, says_absent() decides."""

    def says_absent(self, done: Completed) -> bool:
        """Tell whether a failed command of installed() means "not installed", and not a broken database."""

    def installed_packages(self) -> Query[Mapping[str, str]]:
        """Ask for all installed packages: name → version. A foreign architecture is part of the name."""

    def unpurged(self, output: str) -> frozenset[str]:
        """Read an output of installed_packages(): the packages that are not installed, but have something to purge.

        Names as in installed_packages. Empty if a removal leaves nothing to purge.
        """

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        """Return the newest of the distribution's own candidates that is older than `candidate`."""

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        """Tell whether the candidate comes from the distribution's repositories, and not from the task's."""

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        """Return the names that the package's architecture may have, e.g. {"amd64", "all"}."""

    def identity(self, installed: InstalledPackage, candidate: Candidate) -> Queries[Identity]:
        """Ask for proof of the file of a package, right after its installation.

        `installed`: the answer of installed() after the installation. `candidate`: what was to be installed.
        """

    def why(self, spec: TaskSpec, failed: Completed) -> Queries[tuple[Finding, ...]]:
        """Ask for the causes of the unmet dependencies of a failed installation. It may have no command to run.

        Each finding has the shortest chain from the package to a cause, e.g. "bad needs middle, middle needs libfoo2
        (>= 3): only 2.1 is available". The answer is empty if the installation's own findings already say everything.
        """

    def verify(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Compare the installed files with the package."""

    def owned_files(self, spec: TaskSpec) -> Query[tuple[str, ...]]:
        """Ask for every path that the installed package ships. A path may hold any byte but a line feed."""

    def every_owned_file(self) -> Query[frozenset[str]]:
        """Ask for every path that any installed package ships."""

    def exclusions(self) -> Query[Exclusions] | None:
        """Ask for the settings that leave shipped files out, e.g. documentation.

        Return None if owned_files() knows which files were left out.
        """

    def optional(self, spec: TaskSpec) -> Query[frozenset[str]]:
        """Ask for the names that the installed package recommends, suggests or enhances: packages, or virtual ones."""

    def questions(self, spec: TaskSpec, candidate: Candidate) -> Query[str] | None:
        """Ask for the question that must be answered with yes before a purge deletes data, e.g. "slapd/purge_database".

        The package may be removed already. The answer is "" if there is no such question. Return None if packages of
        the family ask no questions.
        """

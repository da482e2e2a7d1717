"""What the stages need to know of a package manager: argv to run, and what its output means. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec


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


Exclusions = Callable[[str], bool]
"""Says of a path whether the machine's settings leave it out when a package is unpacked."""


class PackageManager(Protocol):
    """Builds argv and reads outputs; runs nothing."""

    environment: Mapping[str, str]
    """For every command: no questions, untranslated output."""
    folders: Sequence[str]
    """Where it keeps its database and what it has fetched, beside the folders that every system has."""

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

    def served_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[str] | None:
        """Shows what repositories have served to a refresh that failed; None where its words say enough."""

    def read_served(self, spec: TaskSpec, failed: Completed, done: Completed) -> tuple[Finding, ...]:
        """The failed refresh's findings; a repository whose metadata is not metadata at all is nobody's but ours."""

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Asks for what could be installed."""

    def read_candidates(self, spec: TaskSpec, output: str) -> tuple[Candidate, ...]:
        """What could be installed, the preferred one first."""

    def install_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]: ...

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        """What took the transaction, whose output this is, all its time of `seconds`.

        Kind.TIMEOUT: the packages' own work. Kind.REPOSITORY_UNREACHABLE: it was still fetching them, or had been for
        more than half of the time. Kind.INTERNAL: it had not come that far.
        """

    def disk_full_line(self, output: str) -> str:
        """The line in which the package manager itself, and no package's script, says that the disk was full; or ""."""

    def installed_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Asks whether the package is installed."""

    def read_installed(self, spec: TaskSpec, done: Completed) -> InstalledPackage | None: ...

    def says_absent(self, done: Completed) -> bool:
        """Whether that is what the same command's failure means: not that there is no telling."""

    def verify_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Compares the installed files with what was shipped."""

    def verify_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    def remove_argv(self, spec: TaskSpec) -> Sequence[str]: ...

    def remove_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]: ...

    # right_package

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        """What the architecture of the package may be called, such as {"amd64", "all"}."""

    def identity_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[Sequence[str]]:
        """Commands whose outputs prove, right after the installation, what was installed."""

    def read_identity(self, spec: TaskSpec, candidate: Candidate, done: Sequence[Completed]) -> Identity: ...

    # integrity, leftovers

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        """Whether the candidate comes from the distribution's own repositories, not from one that the task brought."""

    def owned_files_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Lists every path that the installed package ships."""

    def read_owned_files(self, output: str) -> tuple[str, ...]:
        """A name may have anything in it; only a line feed ends a line."""

    def every_owned_file_argv(self) -> Sequence[str]:
        """Lists every path that any installed package ships."""

    def read_every_owned_file(self, output: str) -> frozenset[str]: ...

    def exclusions_argv(self) -> Sequence[str]:
        """Prints the settings by which shipped files are left out, such as documentation; may print nothing."""

    def read_exclusions(self, done: Completed) -> Exclusions: ...

    def optional_argv(self, spec: TaskSpec) -> Sequence[str]:
        """Lists what goes well with the package, but is not needed: what it recommends, suggests or enhances."""

    def read_optional(self, done: Completed) -> frozenset[str]:
        """Names of packages, or of what packages provide."""

    def install_others_argv(self, others: Mapping[str, str]) -> Sequence[str]:
        """Installs these packages (name → version, as in read_packages), and what they cannot do without."""

    def remove_others_argv(self, others: Iterable[str]) -> Sequence[str]:
        """Removes these packages (names as in read_packages) with all that a removal can take away."""

    def questions_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str] | None:
        """Prints what the package, removed or not, asks its administrator; None where the family knows no questions."""

    def read_questions(self, done: Completed) -> str:
        """The question that must be answered with yes before a purge deletes data, such as "slapd/purge_database"."""

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

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        """The newest of the candidates that the distribution itself has and that is older than `candidate`."""

    # dependency failures in plain words

    def why_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[Sequence[str]]:
        """Commands that complete what the output of a failed installation says of unmet dependencies; may be none."""

    def read_why(self, spec: TaskSpec, failed: Completed, done: Sequence[Completed]) -> tuple[Finding, ...]:
        """The failed installation's dependency findings, each with the shortest chain from the package on.

        Such as "bad needs middle, middle needs libfoo2 (>= 3): only 2.1 can be had". Empty where nothing more can be
        said than install_findings has said.
        """

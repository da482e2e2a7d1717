"""dnf, its successor dnf5 and its ancestor yum: argv to run, and what their output means. Pure.

Nothing here looks at translated text: every command runs with LC_ALL=C.UTF-8.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.package_managers import served
from alts.package_managers.base import Candidate, Identity
from alts.package_managers.dnf import explain as dnf_problems
from alts.package_managers.dnf import output as dnf_output
from alts.package_managers.dnf import served as dnf_served
from alts.package_managers.dnf.names import full_name
from alts.package_managers.dnf.rpm import RpmState
from alts.package_managers.dnf.sources import FOLDER, KnownRepository, brought_by_task, files_for, read_repositories
from alts.package_managers.dnf.versions import compare, full_version, version_key
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# Runs a query, then prints the machine's repositories: which of equal versions wins is a matter of their priority.
_WITH_REPOSITORIES = f'"$@" && echo && cat {FOLDER}/*.repo'

# Where the tools keep what they have fetched; a repository of files on the machine itself is not copied.
_PACKAGE_FOLDERS = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum", "/usr/share/rpm-standin/repo")
_FIND_FILE = 'name=$1; shift; find "$@" -name "$name" -exec sha256sum {} + 2>/dev/null; true'

_ARCHITECTURES = (".x86_64", ".i686", ".aarch64")
_CANDIDATE_TAGS = "%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}"
_PROTECTED = re.compile(
    r"would result in removing the following protected packages: (?P<names>.*)$|"
    r"Trying to remove \"(?P<yum>[^\"]+)\", which is protected",
    re.MULTILINE,
)

_KEEP_OTHERS = "--setopt=clean_requirements_on_remove=0"
_NOT_HIDDEN = "--setopt=*.skip_if_unavailable=0"  # some distributions pass over what cannot be reached
_PATIENCE = ("--setopt=timeout=15", "--setopt=retries=2")  # seconds of silence; the mirror is tried that often


class Dnf(RpmState):
    """dnf of version 4."""

    environment: Mapping[str, str] = {
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }

    folders: Sequence[str] = (
        "/var/lib/dnf",
        "/var/lib/rpm",
        "/usr/lib/sysimage/rpm",
        "/var/cache/dnf",
        "/var/cache/yum",
    )

    program = "dnf"
    remove_names = "remove-n"
    """The verb that takes names alone (dnf(8), "Specifying Packages"): "remove foo-1" may remove version 1 of "foo"."""
    promise_tags = "%{chksum}|%{relativepath}"
    """For a query of what the index promises of a file."""

    def files(self, spec: TaskSpec) -> tuple[InstanceFile, ...]:
        return tuple(files_for(spec))

    def version_argv(self) -> Sequence[str]:
        return (self.program, "--version")

    def read_version(self, output: str) -> str:
        match = re.search(r"^(?:dnf5 version )?(\d+(?:\.\d+)+)", output, re.MULTILINE)
        return f"{self.program} {match[1]}" if match else "unknown"

    def system_argv(self) -> Sequence[Sequence[str]]:
        return (
            ("cat", "/etc/os-release"),
            ("uname", "-a"),
            ("rpm", "--eval", "%{_arch} %{_dbpath}"),
            ("df", "-h", "/"),
            ("/bin/sh", "-c", f"cat {FOLDER}/*.repo"),
            ("/bin/sh", "-c", "rpm --query --all | sort"),
        )

    def refresh_argv(self) -> Sequence[str]:
        # The image may have brought lists that are not old enough to be fetched again by themselves.
        return ("/bin/sh", "-c", served.BOUNDED, "sh", *self._run("--refresh", "makecache"))

    def refresh_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        if done.ok:
            return ()
        return _each_once(dnf_output.repository_findings(spec, done.output)) or (
            Finding(
                kind=Kind.REPOSITORY_UNREACHABLE,
                message="the package lists could not be fetched",
                evidence=dnf_output.last_error(done.output),
            ),
        )

    def served_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[str] | None:
        return dnf_served.served_argv(spec, failed)

    def read_served(self, spec: TaskSpec, failed: Completed, done: Completed) -> tuple[Finding, ...]:
        return dnf_served.read_served(spec, self.refresh_findings(spec, failed), failed, done)

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        architectures = ",".join(sorted(self.architectures(spec)))
        query = self._query("--showduplicates", f"--arch={architectures}", f"--qf={_CANDIDATE_TAGS}", spec.package_name)
        return ("/bin/sh", "-c", _WITH_REPOSITORIES, "sh", *query)

    def read_candidates(self, spec: TaskSpec, output: str) -> tuple[Candidate, ...]:
        """Those of the repositories with the best priority first, among them the newest (dnf.conf(5), "priority").

        A version that several have is the task's own, see the cost in dnf_files.
        """
        known = _repositories(output)
        rows = [line.split("|") for line in output.splitlines() if line.count("|") == 5]
        found = [
            (known.get(repository) or KnownRepository(repository, "", 99), full_version(epoch, version, release))
            for name, epoch, version, release, _, repository in rows
            # dnf also takes what was asked for as name and version: "foo-1" is a package, and version 1 of "foo".
            if name == spec.package_name
        ]
        found.sort(key=lambda one: not one[0].id.startswith("alts-"))
        found.sort(key=lambda one: version_key(one[1]), reverse=True)
        found.sort(key=lambda one: one[0].priority)
        candidates: dict[str, Candidate] = {}
        for repository, version in found:
            candidates.setdefault(version, Candidate(version, repository.origin))
        return tuple(candidates.values())

    def install_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]:
        return self._run("install", full_name(spec.package_name, candidate.version))

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        scriptlets = _each_once(dnf_output.scriptlet_findings(done.output))
        if done.ok:
            return scriptlets
        # Only what was said before rpm worked is surely not a script's words.
        believed = dnf_output.before_rpm(done.output)
        return (
            _each_once(dnf_output.repository_findings(spec, believed))
            or _each_once(dnf_output.package_file_findings(spec, believed))
            or scriptlets
            or _each_once(dnf_output.conflict_findings(done.output))
            or dnf_problems.problem_findings(spec.package_name, done.output, {})
            or _each_once(dnf_output.not_found_findings(spec, done.output))
            or (
                Finding(
                    kind=Kind.INSTALL_FAILED,
                    message=f"{spec.package_name} could not be installed",
                    evidence=dnf_output.last_error(done.output),
                ),
            )
        )

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        return dnf_output.hangs_at(output, seconds=seconds)

    def disk_full_line(self, output: str) -> str:
        return dnf_output.disk_full_line(output)

    def remove_argv(self, spec: TaskSpec) -> Sequence[str]:
        # What came with it stays, as with apt: whether it may go is another question, asked later.
        return self._run(self.remove_names, spec.package_name)

    def remove_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        scriptlets = _each_once(dnf_output.scriptlet_findings(done.output))
        if done.ok or scriptlets:
            return scriptlets
        return (
            Finding(
                kind=Kind.REMOVAL_FAILED,
                message=f"{spec.package_name} could not be removed",
                evidence=dnf_output.last_error(done.output),
            ),
        )

    # right_package

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        return frozenset({spec.architecture, "noarch"})

    def identity_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[Sequence[str]]:
        name = spec.package_name
        file_name = f"{name}-{candidate.version.rpartition(':')[2]}.*.rpm"
        from_repository = self._query("--installed", "--qf=%{name}|%{from_repo}", name)
        promised = self._query(f"--qf={_CANDIDATE_TAGS}|{self.promise_tags}", full_name(name, candidate.version))
        return (
            self.installed_argv(spec),
            ("/bin/sh", "-c", _WITH_REPOSITORIES, "sh", *from_repository),
            promised,
            ("/bin/sh", "-c", _FIND_FILE, "sh", file_name, *_PACKAGE_FOLDERS),
        )

    def read_identity(self, spec: TaskSpec, candidate: Candidate, done: Sequence[Completed]) -> Identity:  # noqa: ARG002
        installed, source, promised, files = done
        package = self.read_installed(spec, installed)
        if package is None:
            return Identity("", "", "", "", "", "", "")
        repository = _from_repository(spec.package_name, source.output)
        known = _repositories(source.output)
        ending = f"-{package.version.rpartition(':')[2]}.{package.architecture}.rpm"
        sha256, path = _file(files.output, f"{spec.package_name}{ending}", repository)
        checksum, location = _promise(promised.output, repository, package.architecture)
        return Identity(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            repository=known[repository].origin if repository in known else repository,
            file=location or posixpath.basename(path),
            sha256=sha256,
            promised_sha256=checksum,
        )

    # leftovers

    def install_others_argv(self, others: Mapping[str, str]) -> Sequence[str]:
        wanted = (full_name(name, version) for name, version in sorted(others.items()))
        return self._run("install", "--setopt=install_weak_deps=0", *wanted)

    def remove_others_argv(self, others: Iterable[str]) -> Sequence[str]:
        names = sorted(others)
        # Of another architecture they are "name.arch", see read_packages.
        foreign = any(name.endswith(_ARCHITECTURES) for name in names)
        return self._run("remove" if foreign else self.remove_names, *names)

    # purge: rpm removes what it installed, and knows nothing of the rest

    def purge_argv(self, spec: TaskSpec) -> Sequence[str] | None:  # noqa: ARG002
        return None

    def purge_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:  # noqa: ARG002
        return ()

    # protected packages

    def protected_argv(self, spec: TaskSpec) -> Sequence[str]:
        return (self.program, "--assumeno", _KEEP_OTHERS, self.remove_names, spec.package_name)

    def read_protected(self, spec: TaskSpec, done: Completed) -> str:
        match = _PROTECTED.search(done.output)
        if not match:
            return ""
        return f"removing {spec.package_name} would remove protected packages: {match['names'] or match['yum']}"

    # leftovers

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        return not brought_by_task(spec, candidate.origin.partition(" ")[0])

    def questions_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str] | None:  # noqa: ARG002
        return None

    def read_questions(self, done: Completed) -> str:  # noqa: ARG002
        return ""

    # plan "full"

    def reinstall_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]:
        return self._run("reinstall", full_name(spec.package_name, candidate.version))

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        older = [
            one
            for one in candidates
            if self.from_distribution(spec, one) and compare(one.version, candidate.version) < 0
        ]
        return max(older, key=lambda one: version_key(one.version), default=None)

    # dependency failures in plain words

    def why_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[Sequence[str]]:  # noqa: ARG002
        return tuple(
            self._query(
                "--showduplicates", "--qf=%{name}|%{epoch}|%{version}|%{release}", f"--whatprovides={_word(need)}"
            )
            for need in dnf_problems.missing_needs(failed.output)
        )

    def read_why(self, spec: TaskSpec, failed: Completed, done: Sequence[Completed]) -> tuple[Finding, ...]:
        versions = {
            need: _versions(_word(need), answer.output)
            for need, answer in zip(dnf_problems.missing_needs(failed.output), done, strict=True)
        }
        return dnf_problems.problem_findings(spec.package_name, failed.output, versions)

    def _run(self, verb: str, *arguments: str) -> Sequence[str]:
        # keepcache: the file that was installed is the proof of what was.
        settings = (*_PATIENCE, _NOT_HIDDEN, _KEEP_OTHERS, "--setopt=keepcache=1")
        return (self.program, "--assumeyes", *settings, verb, *arguments)

    def _query(self, *arguments: str) -> Sequence[str]:
        # From what the refresh has fetched: a mirror that goes away now must not look like one without the package.
        return (self.program, "--quiet", "--cacheonly", "repoquery", *arguments)


class Dnf5(Dnf):
    """dnf of version 5: its query ends no line by itself, and knows no checksums."""

    promise_tags = "|%{location}"
    # It has no verb for names alone, and takes "foo-1" for a version of "foo" where that is installed.
    remove_names = "remove"

    def _query(self, *arguments: str) -> Sequence[str]:
        return super()._query(*(f"{word}\\n" if word.startswith("--qf=") else word for word in arguments))


def _each_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _word(need: str) -> str:
    """Of "good-noarch >= 3" the name."""
    return need.split(maxsplit=1)[0]


def _repositories(output: str) -> Mapping[str, KnownRepository]:
    """What follows a query's own lines; see _WITH_REPOSITORIES."""
    lines = output.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(("[", "#"))), len(lines))
    return read_repositories("\n".join(lines[start:]))


def _versions(name: str, output: str) -> tuple[str, ...]:
    """Of that name; another package that also provides it says nothing of its version."""
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 3]
    found = {full_version(*row[1:]) for row in rows if row[0] == name}
    return tuple(sorted(found, key=version_key))


def _from_repository(name: str, output: str) -> str:
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 1]
    return next((row[1].lstrip("@") for row in rows if row[0] == name), "")


def _file(output: str, name: str, repository: str) -> tuple[str, str]:
    """Checksum and path of the package's file; the one in the repository's own cache, where there are several."""
    rows = [line.split(maxsplit=1) for line in output.splitlines() if " " in line]
    found = sorted((row[1], row[0]) for row in rows if posixpath.basename(row[1]) == name)
    own = [one for one in found if f"/{repository}-" in one[0] or f"/{repository}/" in one[0]]
    path, sha256 = next(iter(own or found), ("", ""))
    return sha256, path


def _promise(output: str, repository: str, architecture: str) -> tuple[str, str]:
    """Checksum (empty where it is of another sort) and location, as the repository's index has them."""
    for line in output.splitlines():
        fields = line.split("|", 6)
        if len(fields) == 7 and fields[4:6] == [architecture, repository]:
            checksum, _, location = fields[6].rpartition("|")
            return _sha256(checksum), location
    return "", ""


def _sha256(text: str) -> str:
    """dnf prints its own (number of the algorithm, bytes)."""
    try:
        _, digest = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return ""
    return digest.hex() if isinstance(digest, bytes) and len(digest) == 32 else ""

"""dnf of version 4 and 5: the commands, with the readers of their output. Pure.

Every command runs with LC_ALL=C.UTF-8, so that its output is not translated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.package_managers import served
from alts.package_managers.base import Candidate, Identity, IndexedFile, InstalledPackage, Operation, Queries, Query
from alts.package_managers.dnf import explain as dnf_problems
from alts.package_managers.dnf import identity as dnf_identity
from alts.package_managers.dnf import output as dnf_output
from alts.package_managers.dnf import served as dnf_served
from alts.package_managers.dnf.names import full_name
from alts.package_managers.dnf.rpm import RpmState
from alts.package_managers.dnf.sources import (
    BROUGHT,
    FOLDER,
    KnownRepository,
    brought_by_task,
    files_for,
    read_repositories,
)
from alts.package_managers.dnf.versions import compare, full_version, version_key
from alts.shared.models.platform import Platform
from alts.shared.models.report import Finding, Kind
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec

# Runs a query, then prints the machine's repositories: their priority decides between equal versions.
_WITH_REPOSITORIES = f'"$@" && echo && cat {FOLDER}/*.repo'

_ARCHITECTURES = (".x86_64", ".i686", ".aarch64")
_CANDIDATE_TAGS = "%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}"
_Row = tuple[KnownRepository, str, IndexedFile]  # a candidate's repository, version and file
_PROTECTED = re.compile(
    r"would result in removing the following protected packages: (?P<names>.*)$|"
    r"Trying to remove \"(?P<yum>[^\"]+)\", which is protected",
    re.MULTILINE,
)

_KEEP_OTHERS = "--setopt=clean_requirements_on_remove=0"
_NOT_HIDDEN = "--setopt=*.skip_if_unavailable=0"  # some distributions skip unreachable repositories
_PATIENCE = ("--setopt=timeout=15", "--setopt=retries=2")  # seconds of silence; tries per mirror


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
    """The verb that takes names only (dnf(8), "Specifying Packages"): "remove foo-1" may remove version 1 of "foo"."""
    brought_alone: Sequence[str] = (f"--repo={BROUGHT}",)
    """Options that leave out all repositories but the task's."""
    promise_tags = "%{chksum}|%{relativepath}"
    """Tags of a query for the checksum and the location of a file in the index."""

    def files(self, platform: Platform, repositories: Sequence[Repository]) -> tuple[InstanceFile, ...]:
        """Return the task's repositories and keys, and working repositories for an old distribution."""
        return tuple(files_for(platform, repositories))

    def version(self) -> Query[str]:
        """Ask rpm, because dnf itself is slow to start. The answer has the program's name, e.g. "dnf 4.14.0"."""
        argv = ("rpm", "--query", "--queryformat=%{VERSION}\\n", "--file", f"/usr/bin/{self.program}")
        return Query(argv, self._read_version)

    def system_argv(self) -> Sequence[Sequence[str]]:
        """List release, kernel, rpm's architecture and database, space, repositories and packages."""
        return (
            ("cat", "/etc/os-release"),
            ("uname", "-a"),
            ("rpm", "--eval", "%{_arch} %{_dbpath}"),
            ("df", "-h", "/"),
            ("/bin/sh", "-c", f"cat {FOLDER}/*.repo"),
            ("/bin/sh", "-c", "rpm --query --all | sort"),
        )

    def refresh_argv(self) -> Sequence[str]:
        """Return `makecache`, with a limit on the size of the files that it writes."""
        return ("/bin/sh", "-c", served.BOUNDED, "sh", *self._makecache())

    def refresh(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `makecache`."""
        return Operation(self.refresh_argv(), partial(_refresh_findings, spec), repeatable=True)

    def refresh_brought(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `makecache` with the task's repositories alone."""
        argv = ("/bin/sh", "-c", served.BOUNDED, "sh", *self._makecache(*self.brought_alone))
        return Operation(argv, partial(_refresh_findings, spec), repeatable=True)

    def served(self, spec: TaskSpec, failed: Completed) -> Query[tuple[Finding, ...]] | None:
        """Download the indexes once more that dnf could not use."""
        return dnf_served.query(spec, _refresh_findings(spec, failed), failed.output)

    def candidates(self, spec: TaskSpec) -> Query[tuple[Candidate, ...]]:
        """List the newest version first, within the repositories of the best priority (dnf.conf(5), "priority").

        dnf is slow to start, so the same query asks for the checksums that identity() needs.
        """
        architectures = ",".join(sorted(self.architectures(spec)))
        tags = f"--qf={_CANDIDATE_TAGS}|{self.promise_tags}"
        query = self._query("--showduplicates", f"--arch={architectures}", tags, spec.package_name)
        return Query(("/bin/sh", "-c", _WITH_REPOSITORIES, "sh", *query), partial(_read_candidates, spec.package_name))

    def install(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Install NAME-EPOCH:VERSION-RELEASE. Even a successful command may have findings: failed %post scripts."""
        argv = self._run("install", full_name(spec.package_name, candidate.version))
        return Operation(argv, partial(self._install_findings, spec))

    def reinstall(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Run `reinstall` for NAME-EPOCH:VERSION-RELEASE."""
        argv = self._run("reinstall", full_name(spec.package_name, candidate.version))
        return Operation(argv, partial(self._install_findings, spec))

    def remove(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Remove the package alone. Dependencies stay, as with apt: a later stage removes them."""
        return Operation(self._run(self.remove_names, spec.package_name), partial(_removal_findings, spec))

    def removal_refused(self, spec: TaskSpec, done: Completed) -> str:
        """Read dnf's words about protected packages."""
        return _removal_refused(spec.package_name, done)

    def purge(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]] | None:  # noqa: ARG002
        """Return None: rpm removes what it installed, and knows nothing of other files."""
        return None

    def install_others(self, spec: TaskSpec, others: Mapping[str, str]) -> Operation[tuple[Finding, ...]]:
        """Install the packages without their weak dependencies."""
        wanted = (full_name(name, version) for name, version in sorted(others.items()))
        argv = self._run("install", "--setopt=install_weak_deps=0", *wanted)
        return Operation(argv, partial(self._install_findings, spec))

    def remove_others(self, others: Iterable[str]) -> Operation[bool]:
        """Remove the packages. "name.arch" of a foreign one needs a verb that takes more than names."""
        names = sorted(others)
        foreign = any(name.endswith(_ARCHITECTURES) for name in names)
        return Operation(self._run("remove" if foreign else self.remove_names, *names), lambda done: done.ok)

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        """Read how far dnf came, see alts.package_managers.dnf.output."""
        return dnf_output.hangs_at(output, seconds=seconds)

    def disk_full_line(self, output: str) -> str:
        """Read the lines of dnf and rpm alone, see alts.package_managers.dnf.output."""
        return dnf_output.disk_full_line(output)

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        """Compare by rpm's order of versions (rpm-version(7))."""
        older = [
            one
            for one in candidates
            if self.from_distribution(spec, one) and compare(one.version, candidate.version) < 0
        ]
        return max(older, key=lambda one: version_key(one.version), default=None)

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        """Look at the repository's id in the origin: the task's are "alts-1", "alts-2" and so on."""
        return not brought_by_task(spec, candidate.origin.partition(" ")[0])

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        """Return rpm's name of the architecture, and "noarch"."""
        return frozenset({spec.platform.architecture, "noarch"})

    def identity(self, installed: InstalledPackage, candidate: Candidate) -> Queries[Identity]:
        """Compare rpm's record and dnf's index with the .rpm that stayed in the cache.

        The cache has a folder for each repository, so dnf is asked for the repository only without a single file there.
        """
        ask_repository = self._query("--installed", "--qf=%{name}|%{from_repo}", installed.name)
        find = (*dnf_identity.find_source_argv(installed), *ask_repository)
        argv = ("/bin/sh", "-c", _WITH_REPOSITORIES, "sh", *find)
        return Queries((argv,), partial(_read_identity, installed, candidate))

    def why(self, spec: TaskSpec, failed: Completed) -> Queries[tuple[Finding, ...]]:
        """Ask for the other versions of each need that no repository provides."""
        needs = dnf_problems.missing_needs(failed.output)
        tags = "--qf=%{name}|%{epoch}|%{version}|%{release}"
        argvs = (self._query("--showduplicates", tags, f"--whatprovides={_word(need)}") for need in needs)

        def read(outputs: Sequence[str]) -> tuple[Finding, ...]:
            answers = zip(needs, outputs, strict=True)
            versions = {need: _versions(_word(need), output) for need, output in answers}
            return dnf_problems.problem_findings(spec.package_name, failed.output, versions)

        return Queries(tuple(argvs), read)

    def questions(self, spec: TaskSpec, candidate: Candidate) -> Query[str] | None:  # noqa: ARG002
        """Return None: rpm's packages ask no questions."""
        return None

    def _makecache(self, *options: str) -> Sequence[str]:
        # The image may bring lists that dnf would not yet fetch again without --refresh.
        return self._run("--refresh", *options, "makecache")

    def _run(self, verb: str, *arguments: str) -> Sequence[str]:
        # keepcache: the installed file stays as proof.
        settings = (*_PATIENCE, _NOT_HIDDEN, _KEEP_OTHERS, "--setopt=keepcache=1")
        return (self.program, "--assumeyes", *settings, verb, *arguments)

    def _query(self, *arguments: str) -> Sequence[str]:
        # --cacheonly: with a mirror that goes down after the refresh, the package must not look absent.
        return (self.program, "--quiet", "--cacheonly", "repoquery", *arguments)

    def _read_version(self, output: str) -> str:
        match = re.search(r"^\d+(?:\.\d+)+$", output, re.MULTILINE)
        return f"{self.program} {match[0]}" if match else "unknown"

    def _install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        scriptlets = _each_once(dnf_output.scriptlet_findings(done.output))
        if done.ok:
            return scriptlets
        # Before rpm starts, no script can have written the line.
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


class Dnf5(Dnf):
    """dnf of version 5: its query ends no line by itself, and knows no checksums."""

    promise_tags = "|%{location}"
    # It has no verb for names alone, and takes "foo-1" for a version of "foo" if that is installed.
    remove_names = "remove"

    def _query(self, *arguments: str) -> Sequence[str]:
        return super()._query(*(f"{word}\\n" if word.startswith("--qf=") else word for word in arguments))


def _refresh_findings(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
    if done.ok:
        return ()
    return _each_once(dnf_output.repository_findings(spec, done.output)) or (
        Finding(
            kind=Kind.REPOSITORY_UNREACHABLE,
            message="the package lists could not be fetched",
            evidence=dnf_output.last_error(done.output),
        ),
    )


def _removal_findings(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
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


def _removal_refused(name: str, done: Completed) -> str:
    # Before rpm starts, no script can have written the line.
    match = None if done.ok else _PROTECTED.search(dnf_output.before_rpm(done.output))
    return f"removing {name} would remove protected packages: {match['names'] or match['yum']}" if match else ""


def _read_candidates(name: str, output: str) -> tuple[Candidate, ...]:
    """Sort by priority, then by version. If several repositories have a version, it is the task's own.

    dnf installs it from there too, see the cost in alts.package_managers.dnf.sources.
    """
    known = _repositories(output)
    # dnf also reads the name as name and version: "foo-1" is a package, and version 1 of "foo".
    fields = (line.split("|", 6) for line in output.splitlines())
    found = [_row(one, known) for one in fields if len(one) == 7 and one[0] == name]
    found.sort(key=lambda row: not row[0].id.startswith("alts-"))
    found.sort(key=lambda row: version_key(row[1]), reverse=True)
    found.sort(key=lambda row: row[0].priority)
    candidates: dict[str, Candidate] = {}
    for repository, version, _ in found:
        files = tuple(file for _, other, file in found if other == version)
        candidates.setdefault(version, Candidate(version, repository.origin, files))
    return tuple(candidates.values())


def _row(fields: Sequence[str], known: Mapping[str, KnownRepository]) -> _Row:
    _, epoch, version, release, architecture, repository, promise = fields
    sha256, location = dnf_identity.read_promise(promise)
    file = IndexedFile(architecture, repository, sha256, location)
    return known.get(repository) or KnownRepository(repository, "", 99), full_version(epoch, version, release), file


def _read_identity(package: InstalledPackage, candidate: Candidate, outputs: Sequence[str]) -> Identity:
    [source] = outputs
    repository = dnf_identity.read_repository(package, source)
    known = _repositories(source)
    sha256, path = dnf_identity.read_file(package, source, repository)
    files = candidate.files if candidate.version == package.version else ()
    promised = next(
        (file for file in files if (file.architecture, file.repository) == (package.architecture, repository)), None
    )
    return Identity(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        repository=known[repository].origin if repository in known else repository,
        file=(promised.location if promised else "") or posixpath.basename(path),
        sha256=sha256,
        promised_sha256=promised.sha256 if promised else "",
    )


def _each_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _word(need: str) -> str:
    """Return the name in a need, e.g. in "good-noarch >= 3"."""
    return need.split(maxsplit=1)[0]


def _repositories(output: str) -> Mapping[str, KnownRepository]:
    """Read the part after the query's own lines; see _WITH_REPOSITORIES."""
    lines = output.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(("[", "#"))), len(lines))
    return read_repositories("\n".join(lines[start:]))


def _versions(name: str, output: str) -> tuple[str, ...]:
    """Read the versions of this name. The version of another package that provides it means nothing here."""
    rows = [line.split("|") for line in output.splitlines() if line.count("|") == 3]
    found = {full_version(*row[1:]) for row in rows if row[0] == name}
    return tuple(sorted(found, key=version_key))

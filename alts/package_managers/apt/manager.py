"""apt: the commands, with the readers of their output. Pure.

Every command runs with LC_ALL=C.UTF-8, so that its output is not translated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.package_managers.apt import debconf
from alts.package_managers.apt import explain as apt_why
from alts.package_managers.apt import output as apt_output
from alts.package_managers.apt import served as apt_served
from alts.package_managers.apt.downloads import brought_by_task, repository_findings
from alts.package_managers.apt.dpkg import DpkgState
from alts.package_managers.apt.programs import APT_CACHE, APT_GET, WITHOUT_LISTS
from alts.package_managers.apt.sources import ARCHIVES, FETCH_BROUGHT, LIST_LAST, files_for
from alts.package_managers.apt.versions import compare, version_key
from alts.package_managers.base import Candidate, Identity, InstalledPackage, Operation, Queries, Query, Rehearsal
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.platform import Platform
from alts.shared.models.report import Finding, Kind
from alts.shared.models.repository import Repository
from alts.shared.models.task_spec import TaskSpec

T = TypeVar("T")

# Nobody can answer a conffile question here. Keep the file on disk, as a careful administrator would, and take the
# package's own file if nobody changed the old one (dpkg(1), --force-confdef).
_CONFFILES = ("--option=Dpkg::Options::=--force-confdef", "--option=Dpkg::Options::=--force-confold")


class Apt(DpkgState):
    """apt-get, apt-cache, dpkg and dpkg-query."""

    environment: Mapping[str, str] = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN": "true",
        **debconf.ENVIRONMENT,
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }

    folders: Sequence[str] = ("/var/lib/apt", "/var/lib/dpkg", ARCHIVES)

    def files(self, platform: Platform, repositories: Sequence[Repository]) -> tuple[InstanceFile, ...]:  # noqa: ARG002
        """Return apt's settings, answers for debconf, and sources, keys and pins of the task."""
        return (*files_for(repositories), InstanceFile(debconf.ANSWERS_PATH, debconf.ANSWERS))

    def version(self) -> Query[str]:
        """Read the second word of `apt-get --version`, e.g. "apt 2.6.1 (amd64)"."""
        return Query(("apt-get", "--version"), _read_version)

    def system_argv(self) -> Sequence[Sequence[str]]:
        """List release, kernel, architecture, space, repositories and packages."""
        return (
            ("cat", "/etc/os-release"),
            ("uname", "-a"),
            ("dpkg", "--print-architecture"),
            ("df", "-h", "/"),
            ("apt-cache", "policy"),
            ("dpkg-query", "--show", "--showformat=${binary:Package} ${Version}\\n"),
        )

    def refresh_argv(self) -> Sequence[str]:
        """Return `apt-get update`, with the distribution's sources.list read last (see LIST_LAST)."""
        return ("/bin/sh", "-c", LIST_LAST, "sh", "apt-get", "--quiet", "update")

    def refresh(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `apt-get update`."""
        return Operation(self.refresh_argv(), partial(_refresh_findings, spec), repeatable=True)

    def refresh_brought(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `apt-get update` with the task's sources alone (apt.conf(5), Dir::Etc::sourceparts)."""
        argv = ("/bin/sh", "-c", FETCH_BROUGHT, "sh", "apt-get", "--quiet")
        return Operation(argv, partial(_refresh_findings, spec), repeatable=True)

    def served(self, spec: TaskSpec, failed: Completed) -> Query[tuple[Finding, ...]]:
        """Show Release files that apt kept but could not use, and fetch failed indexes once more."""
        return apt_served.query(spec, _refresh_findings(spec, failed), failed.output)

    def candidates(self, spec: TaskSpec) -> Query[tuple[Candidate, ...]]:
        """Read `apt-cache policy`."""
        name = spec.package_name
        return Query((*APT_CACHE, "policy", name), partial(apt_output.read_candidates, name))

    def install(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Return the command that installs NAME=VERSION.

        A bare name that ends in "-" or "+" would be an order to remove or install (apt-get(8)). A package with just
        this name and version exists, so apt installs that and its dependencies. It may replace a newer version.
        """
        argv = (*APT_GET, *_CONFFILES, "--allow-downgrades", "install", f"{spec.package_name}={candidate.version}")
        return Operation(argv, partial(_install_findings, spec))

    def reinstall(self, spec: TaskSpec, candidate: Candidate) -> Operation[tuple[Finding, ...]]:
        """Return the command that installs NAME=VERSION over itself."""
        argv = (*APT_GET, *_CONFFILES, "--reinstall", "install", f"{spec.package_name}={candidate.version}")
        return Operation(argv, partial(_install_findings, spec))

    def remove(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `apt-get remove`, which keeps conffiles and dependencies."""
        judge = partial(_removal_findings, spec, f"{spec.package_name} could not be removed")
        return _removal("remove", "--", spec.package_name, judge=judge)

    def removal_refused(self, spec: TaskSpec, done: Completed) -> str:
        """Read apt's words: it refuses an essential package, and one that essential packages need."""
        return apt_output.removal_refused(spec.package_name, done)

    def purge(self, spec: TaskSpec) -> Operation[tuple[Finding, ...]]:
        """Run `apt-get purge`, which also removes conffiles."""
        judge = partial(_removal_findings, spec, f"{spec.package_name} could not be purged")
        return _removal("purge", "--", spec.package_name, judge=judge)

    def install_others(self, spec: TaskSpec, others: Mapping[str, str]) -> Operation[tuple[Finding, ...]]:
        """Install NAME=VERSION of each, without recommended packages."""
        wanted = (f"{name}={version}" for name, version in sorted(others.items()))
        return Operation((*APT_GET, "--no-install-recommends", "install", *wanted), partial(_install_findings, spec))

    def remove_others(self, others: Iterable[str]) -> Operation[bool]:
        """Purge them, even essential ones: they came with the package.

        Small images lack e.g. e2fsprogs, which is essential.
        """
        return _removal("--allow-remove-essential", "purge", "--", *sorted(others), judge=lambda done: done.ok)

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        """Read how far apt came, see alts.package_managers.apt.output."""
        return apt_output.hangs_at(output, seconds=seconds)

    def disk_full_line(self, output: str) -> str:
        """Read the lines of apt and dpkg alone, see alts.package_managers.apt.output."""
        return apt_output.disk_full_line(output)

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        """Compare by dpkg's order of versions (Debian Policy 5.6.12)."""
        older = [
            one
            for one in candidates
            if self.from_distribution(spec, one) and compare(one.version, candidate.version) < 0
        ]
        return max(older, key=lambda one: version_key(one.version), default=None)

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        """Compare the origin with the URLs of the task's repositories. Without an origin it is only installed."""
        return bool(candidate.origin) and not brought_by_task(spec, candidate.origin)

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        """Return dpkg's name of the architecture, and "all"."""
        return frozenset({DEB_ARCHITECTURES[spec.dist_arch], "all"})

    def identity(self, installed: InstalledPackage, candidate: Candidate) -> Queries[Identity]:  # noqa: ARG002
        """Compare dpkg's record and apt's index with the .deb that stayed in ARCHIVES."""
        name, version = installed.name, installed.version
        return Queries(
            (
                (*APT_CACHE, "policy", name),
                (*APT_CACHE, "show", f"{name}={version}"),
                apt_output.archive_argv(name, version),
            ),
            partial(apt_output.read_identity, installed),
        )

    def why(self, spec: TaskSpec, failed: Completed) -> Queries[tuple[Finding, ...]]:
        """Follow the block "unmet dependencies" through `apt-cache depends`."""
        return apt_why.queries(spec, failed.output)

    def questions(self, spec: TaskSpec, candidate: Candidate) -> Query[str]:
        """Read the debconf templates of the .deb that stayed in ARCHIVES."""
        argv = debconf.templates_argv(ARCHIVES, spec.package_name, candidate.version)
        return Query(argv, debconf.asks_before_deleting)


def _removal(*words: str, judge: Callable[[Completed], T]) -> Operation[T]:
    """Return a removal: options, the verb, "--" and names.

    If just these packages go, apt has nothing to choose from its lists, so it need not read them. If others would have
    to go too, apt may rather install something instead (apt-pkg/algorithms.cc, pkgProblemResolver).
    """
    agrees = partial(apt_output.removes_just, frozenset(words[words.index("--") + 1 :]))
    quicker = (*APT_GET, *WITHOUT_LISTS)
    rehearsal = Rehearsal((*quicker, "--simulate", *words), agrees, (*quicker, *words))
    return Operation((*APT_GET, *words), judge, rehearsal=rehearsal)


def _read_version(output: str) -> str:
    words = output.split()
    return words[1] if len(words) > 1 and words[0] == "apt" else "unknown"


def _refresh_findings(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
    findings = tuple(repository_findings(spec, done.output))
    if findings or done.ok:
        return findings
    return (
        Finding(
            kind=Kind.REPOSITORY_UNREACHABLE,
            message="the package lists could not be fetched",
            evidence=apt_output.last_error(done.output),
        ),
    )


def _install_findings(spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
    # apt and dpkg never report a failure as success, and the output of a script is not theirs.
    if done.ok:
        return ()
    return tuple(apt_output.transaction_findings(spec, done.output)) or (
        Finding(
            kind=Kind.INSTALL_FAILED,
            message=f"{spec.package_name} could not be installed",
            evidence=apt_output.last_error(done.output),
        ),
    )


def _removal_findings(spec: TaskSpec, otherwise: str, done: Completed) -> tuple[Finding, ...]:
    if done.ok:
        return ()
    return tuple(apt_output.scriptlet_findings(spec, done.output)) or (
        Finding(kind=Kind.REMOVAL_FAILED, message=otherwise, evidence=apt_output.last_error(done.output)),
    )

"""apt and dpkg: argv to run, and what their output means. Pure.

Nothing here looks at translated text: every command runs with LC_ALL=C.UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alts.core.command import Completed
from alts.core.instance import InstanceFile
from alts.package_managers.apt import debconf
from alts.package_managers.apt import explain as apt_why
from alts.package_managers.apt import output as apt_output
from alts.package_managers.apt import served as apt_served
from alts.package_managers.apt.dpkg import APT_CACHE, APT_GET, DpkgState
from alts.package_managers.apt.sources import ARCHIVES, LIST_LAST, brought_by_task, files_for, repository_findings
from alts.package_managers.apt.versions import compare, version_key
from alts.package_managers.base import Candidate, Identity, InstalledPackage
from alts.shared.models.distributions import DEB_ARCHITECTURES
from alts.shared.models.report import Finding, Kind
from alts.shared.models.task_spec import TaskSpec

# Conffile questions cannot be answered here: keep the file that is there, as a careful administrator would, and take
# the package's own where none was touched (dpkg(1), --force-confdef).
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

    def files(self, spec: TaskSpec) -> tuple[InstanceFile, ...]:
        return (*files_for(spec), InstanceFile(debconf.ANSWERS_PATH, debconf.ANSWERS))

    def version_argv(self) -> Sequence[str]:
        return ("apt-get", "--version")

    def read_version(self, output: str) -> str:
        words = output.split()
        return words[1] if len(words) > 1 and words[0] == "apt" else "unknown"

    def system_argv(self) -> Sequence[Sequence[str]]:
        return (
            ("cat", "/etc/os-release"),
            ("uname", "-a"),
            ("dpkg", "--print-architecture"),
            ("df", "-h", "/"),
            ("apt-cache", "policy"),
            ("dpkg-query", "--show", "--showformat=${binary:Package} ${Version}\\n"),
        )

    def refresh_argv(self) -> Sequence[str]:
        return ("/bin/sh", "-c", LIST_LAST, "sh", "apt-get", "--quiet", "update")

    def refresh_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
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

    def served_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[str] | None:
        return apt_served.served_argv(spec, failed)

    def read_served(self, spec: TaskSpec, failed: Completed, done: Completed) -> tuple[Finding, ...]:
        return apt_served.read_served(spec, self.refresh_findings(spec, failed), done)

    def candidates_argv(self, spec: TaskSpec) -> Sequence[str]:
        return (*APT_CACHE, "policy", spec.package_name)

    def read_candidates(self, spec: TaskSpec, output: str) -> tuple[Candidate, ...]:
        return apt_output.read_candidates(spec.package_name, output)

    def install_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]:
        # Name and version in one word: a bare name that ends in "-" or "+" would be an order to remove or install
        # (apt-get(8)). There is a package of just this name and version, so apt installs that and what it needs.
        # The machine may have a newer one than the task asks for.
        return (
            *APT_GET,
            *_CONFFILES,
            "--allow-downgrades",
            "install",
            f"{spec.package_name}={candidate.version}",
        )

    def install_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        # apt and dpkg never call a failure a success, and what a script prints on the way is not theirs.
        if done.ok:
            return ()
        return tuple(apt_output.transaction_findings(spec, done.output)) or (
            Finding(
                kind=Kind.INSTALL_FAILED,
                message=f"{spec.package_name} could not be installed",
                evidence=apt_output.last_error(done.output),
            ),
        )

    def hangs_at(self, output: str, *, seconds: float) -> Kind:
        return apt_output.hangs_at(output, seconds=seconds)

    def disk_full_line(self, output: str) -> str:
        return apt_output.disk_full_line(output)

    def installed_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg-query", "--show", f"--showformat={apt_output.INSTALLED_FORMAT}", spec.package_name)

    def read_installed(self, spec: TaskSpec, done: Completed) -> InstalledPackage | None:
        return apt_output.read_installed(spec.package_name, done.output)

    def says_absent(self, done: Completed) -> bool:
        return done.exit_code == 1 and "no packages found matching" in done.output

    def verify_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg", "--verify", spec.package_name)

    def verify_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        findings = tuple(apt_output.verify_findings(done.output))
        if findings or done.ok:
            return findings
        return (
            Finding(
                kind=Kind.INTERNAL,
                message=f"dpkg --verify could not check {spec.package_name}",
                evidence=done.tail(1),
            ),
        )

    def remove_argv(self, spec: TaskSpec) -> Sequence[str]:
        return (*APT_GET, "remove", "--", spec.package_name)

    def remove_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        return _removal_findings(spec, done, f"{spec.package_name} could not be removed")

    # right_package

    def architectures(self, spec: TaskSpec) -> frozenset[str]:
        return frozenset({DEB_ARCHITECTURES[spec.dist_arch], "all"})

    def identity_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[Sequence[str]]:
        name, version = spec.package_name, candidate.version
        return (
            self.installed_argv(spec),
            (*APT_CACHE, "policy", name),
            (*APT_CACHE, "show", f"{name}={version}"),
            apt_output.archive_argv(name, version),
        )

    def read_identity(self, spec: TaskSpec, candidate: Candidate, done: Sequence[Completed]) -> Identity:
        return apt_output.read_identity(spec.package_name, candidate.version, done)

    # integrity, leftovers

    def from_distribution(self, spec: TaskSpec, candidate: Candidate) -> bool:
        return bool(candidate.origin) and not brought_by_task(spec, candidate.origin)

    def owned_files_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg-query", "--listfiles", spec.package_name)

    def read_owned_files(self, output: str) -> tuple[str, ...]:
        # "/." is the root folder; lines that tell of diversions do not begin with a path.
        return tuple(line for line in output.split("\n") if line.startswith("/") and line != "/.")

    def questions_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str] | None:
        return debconf.templates_argv(ARCHIVES, spec.package_name, candidate.version)

    def read_questions(self, done: Completed) -> str:
        return debconf.asks_before_deleting(done.output)

    # purge

    def purge_argv(self, spec: TaskSpec) -> Sequence[str] | None:
        return (*APT_GET, "purge", "--", spec.package_name)

    def purge_findings(self, spec: TaskSpec, done: Completed) -> tuple[Finding, ...]:
        return _removal_findings(spec, done, f"{spec.package_name} could not be purged")

    # snapshots

    def packages_argv(self) -> Sequence[str]:
        return ("dpkg-query", "--show", f"--showformat={apt_output.PACKAGES_FORMAT}")

    def read_packages(self, done: Completed) -> Mapping[str, str]:
        return apt_output.read_packages(done.output)

    # protected packages

    def protected_argv(self, spec: TaskSpec) -> Sequence[str]:
        return (*APT_GET, "--simulate", "remove", "--", spec.package_name)

    def read_protected(self, spec: TaskSpec, done: Completed) -> str:
        return apt_output.removal_refused(spec.package_name, done)

    # plan "full"

    def reinstall_argv(self, spec: TaskSpec, candidate: Candidate) -> Sequence[str]:
        return (*APT_GET, *_CONFFILES, "--reinstall", "install", f"{spec.package_name}={candidate.version}")

    def upgrade_base(self, spec: TaskSpec, candidate: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
        older = [
            one
            for one in candidates
            if self.from_distribution(spec, one) and compare(one.version, candidate.version) < 0
        ]
        return max(older, key=lambda one: version_key(one.version), default=None)

    # dependency failures in plain words

    def why_argv(self, spec: TaskSpec, failed: Completed) -> Sequence[Sequence[str]]:
        return apt_why.why_argv(spec, failed)

    def read_why(self, spec: TaskSpec, failed: Completed, done: Sequence[Completed]) -> tuple[Finding, ...]:
        return apt_why.read_why(spec, failed, done)


def _removal_findings(spec: TaskSpec, done: Completed, otherwise: str) -> tuple[Finding, ...]:
    if done.ok:
        return ()
    return tuple(apt_output.scriptlet_findings(spec, done.output)) or (
        Finding(kind=Kind.REMOVAL_FAILED, message=otherwise, evidence=apt_output.last_error(done.output)),
    )
